"""Where size, arithmetic and memory go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from packlight.records.measurement import Measurement


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator's share.

    Attributes:
        name: of the operator.
        op: its type.
        macs: multiply-accumulates for one run; None where they are not known.
        parameters: stored numbers it reads.
        weight_bytes: of those numbers.
        activation_bytes: of what it writes; None where a shape is not known.
        shared: whether another operator reads the same weights and counts them.
    """

    name: str
    op: str
    macs: int | None
    parameters: int
    weight_bytes: int
    activation_bytes: int | None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """Costs by operator and in all.

    Attributes:
        model: name.
        operators: in the order they run, those in subgraphs included.
        totals: ``macs``, ``parameters``, ``weight_bytes``, ``size`` and, where all shapes are
            known, ``peak_activation_bytes``.
        unknown: operators whose arithmetic could not be counted, with why.
    """

    VERSION: ClassVar[int] = 1

    model: str
    operators: tuple[OperatorCost, ...]
    totals: Mapping[str, Measurement]
    unknown: tuple[str, ...] = ()
