"""Peak memory of a model in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from packlight.errors import CheckError, InputError, ModelError, TaskError
from packlight.model import Model, save
from packlight.records.codec import canonical
from packlight.records.measurement import Measurement
from packlight.records.session import SessionOptions
from packlight.runtime.calls import Steps
from packlight.runtime.isolation.child import Finished, run_child

REPEATS = 6
"""Processes: the least and the most of six hold the median with 97 %, of three with 75 %."""
ERRORS: dict[str, type[InputError]] = {"ModelError": ModelError, "TaskError": TaskError}


def peak_memory(
    path: Path,
    steps: Steps,
    state: Mapping[str, str],
    options: SessionOptions,
    seconds: float = 300.0,
) -> Measurement:
    """Largest resident set of a fresh process that loads and runs a model, minus the empty runtime.

    Args:
        path: the model's file.
        steps: one sample.
        state: by output, the input that it feeds at the next step.
        options: how it runs; its arithmetic is ``runtime``, for references need memory of their
            own.
        seconds: for one process.

    Returns:
        Bytes: median, lowest and highest of six processes.

    Raises:
        ModelError: the model cannot be opened or run, or not in this time.
        TaskError: the sample does not fit it.
        ValueError: the arithmetic is ``exact``.
    """
    if options.arithmetic != "runtime":
        raise ValueError("peak memory is that of arithmetic='runtime'")
    with TemporaryDirectory(prefix="packlight-") as folder:
        arguments = [str(path.resolve()), *inputs_of_child(Path(folder), steps)]
        arguments += [json.dumps(dict(state)), canonical(options)]
        peaks = [one_peak(path, arguments, seconds) for _ in range(REPEATS)]
    return Measurement(median(peaks), "B", min(peaks), max(peaks), "measured", REPEATS)


def inputs_of_child(folder: Path, steps: Steps) -> list[str]:
    """A trivial model and the arrays in files, and which array feeds what."""
    save(trivial(), folder / "trivial.onnx")
    keys = [{name: f"{at}.{i}" for i, name in enumerate(f)} for at, f in enumerate(steps)]
    arrays = {key: steps[at][name] for at, step in enumerate(keys) for name, key in step.items()}
    np.savez(folder / "feeds.npz", allow_pickle=False, **arrays)
    return [str(folder / "trivial.onnx"), str(folder / "feeds.npz"), json.dumps(keys)]


def one_peak(path: Path, arguments: Sequence[str], seconds: float) -> float:
    """Bytes that one process needs for the model."""
    ended = run_child("packlight.runtime.memory_child", arguments, seconds)
    if ended.late:
        raise ModelError(f"'{path.name}' did not load and run once within {seconds:g} s")
    found = verdict(path, ended)
    if "error" in found:
        raise ERRORS[str(found["kind"])](str(found["error"]))
    return max(0.0, float(found["peak"]) - float(found["before"]))


def verdict(path: Path, ended: Finished) -> dict[str, float | str]:
    """What the process said."""
    if ended.code < 0:
        raise ModelError(
            f"'{path.name}' ended the process that ran it, with signal {-ended.code}: it needs "
            "more memory than there is, or makes ONNX Runtime crash"
        )
    if ended.code > 0:
        raise CheckError(f"the process that measures memory failed: {ended.errors}")
    found: dict[str, float | str] = json.loads(ended.output.splitlines()[-1])
    return found


def trivial() -> Model:
    """The smallest model: it gives what it gets."""
    x = ir.val("x", ir.DataType.FLOAT, (1,))
    y = ir.val("y", ir.DataType.FLOAT, (1,))
    same = ir.Node("", "Identity", [x], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[same], opset_imports={"": 13}, name="trivial")
    return Model(ir.Model(graph, ir_version=8), "trivial")
