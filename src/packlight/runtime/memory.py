"""Peak memory of a model in a child process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnx_ir as ir

from packlight.disk import scratch_folder
from packlight.errors import CheckError, InputError, ModelError, TaskError
from packlight.model import Model, save
from packlight.records.codec import canonical
from packlight.records.measurement import Measurement
from packlight.records.session import SessionOptions
from packlight.runtime.calls import Steps
from packlight.runtime.isolation.child import Finished, run_child

REPEATS = 6
"""Processes: lowest and highest of six enclose the median with 97 %, of three with 75 %."""
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
        options: how it runs; its arithmetic is ``runtime``, for references need more memory.
        seconds: for one process.

    Returns:
        Bytes: median, lowest and highest of six processes.

    Raises:
        ModelError: the model cannot be opened or run in this time.
        TaskError: the sample does not fit it.
        ValueError: the arithmetic is ``exact``.
    """
    if options.arithmetic != "runtime":
        raise ValueError("peak memory is that of arithmetic='runtime'")
    with scratch_folder() as folder:
        arguments = [str(path.resolve()), *_child_inputs(folder, steps)]
        arguments += [json.dumps(dict(state)), canonical(options)]
        peaks = [_peak_of_child(path, arguments, seconds) for _ in range(REPEATS)]
    return Measurement(median(peaks), "B", min(peaks), max(peaks), "measured", REPEATS)


def _child_inputs(folder: Path, steps: Steps) -> list[str]:
    """Arguments of the child: files of a trivial model and of the arrays, and names by step."""
    save(identity_model(), folder / "trivial.onnx")
    keys = []
    arrays = {}
    for step, feeds in enumerate(steps):
        keys.append({name: f"{step}.{index}" for index, name in enumerate(feeds)})
        arrays.update({keys[-1][name]: array for name, array in feeds.items()})
    np.savez(folder / "feeds.npz", allow_pickle=False, **arrays)
    return [str(folder / "trivial.onnx"), str(folder / "feeds.npz"), json.dumps(keys)]


def _peak_of_child(path: Path, arguments: Sequence[str], seconds: float) -> float:
    """Bytes that one process needs for the model."""
    child = run_child("packlight.runtime.memory_child", arguments, seconds)
    if child.late:
        raise ModelError(f"'{path.name}' did not load and run once within {seconds:g} s")
    report = _child_report(path, child)
    if "error" in report:
        raise ERRORS[str(report["kind"])](str(report["error"]))
    return max(0.0, float(report["peak"]) - float(report["before"]))


def _child_report(path: Path, child: Finished) -> dict[str, float | str]:
    """Read the report that the process printed."""
    if child.code < 0:
        raise ModelError(
            f"'{path.name}' ended the process that ran it, with signal {-child.code}: it needs "
            "more memory than there is, or makes ONNX Runtime crash"
        )
    if child.code > 0:
        raise CheckError(f"the process that measures memory failed: {child.errors}")
    report: dict[str, float | str] = json.loads(child.output.splitlines()[-1])
    return report


def identity_model() -> Model:
    """A model of one Identity, to measure the empty runtime with."""
    x = ir.val("x", ir.DataType.FLOAT, (1,))
    y = ir.val("y", ir.DataType.FLOAT, (1,))
    same = ir.Node("", "Identity", [x], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[same], opset_imports={"": 13}, name="trivial")
    return Model(ir.Model(graph, ir_version=8), "trivial")
