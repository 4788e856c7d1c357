"""What runtimes compute in 8-bit integers, from data files with a source for every field."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from packlight.records.codec import from_json
from packlight.records.configs import IntegerRuntime

FOLDER = Path(__file__).with_name("runtimes")


@dataclass(frozen=True, slots=True)
class Fusions:
    """Which operators a runtime computes in integers, by the names of ONNX, and on which grids.

    Attributes:
        title: of the runtime.
        codes: type of activations.
        symmetric: whether the zero point of activations is in the middle.
        constants: whether stored floats that an operator without a weight reads get a grid too.
        weighted: operators with a weight.
        per_channel: those whose weights may have a scale for each output channel.
        activations: operators that disappear in the clipping of the grid behind them.
        carriers: operators without a weight that give a new range.
        passes: operators that move integers and keep their range.
        one_scale: those of which all parts have the grid of the whole.
        float_out: operators with a weight that can give floats.
        floats: operators that stay in float although others have integer kernels, and why.
        fixed: grids that are given: step, and the code of 0.0 counted from the lowest.
        sources: of each field.
    """

    title: str
    codes: Literal["uint8", "int8"]
    symmetric: bool
    constants: bool
    weighted: tuple[str, ...]
    per_channel: tuple[str, ...]
    activations: tuple[str, ...]
    carriers: tuple[str, ...]
    passes: tuple[str, ...]
    one_scale: tuple[str, ...]
    float_out: tuple[str, ...]
    floats: Mapping[str, str]
    fixed: Mapping[str, tuple[float, int]]
    sources: Mapping[str, str]


@cache
def fusions(runtime: IntegerRuntime) -> Fusions:
    """What a runtime computes in integers."""
    text = (FOLDER / f"{runtime}.toml").read_text("utf-8")
    return from_json(Fusions, tomllib.loads(text))
