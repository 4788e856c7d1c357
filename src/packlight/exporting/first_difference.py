"""Find the first operator of an exported file whose results differ, by bisection over outputs.

The graph is cut behind an operator, written again, and its result compared with that of ONNX
Runtime. Where values are quantized, it computes the ONNX model cut behind the same value, with the
integer kernels that the whole model has; else the graph with every optimization off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import common

from packlight.disk import scratch_folder
from packlight.errors import PacklightError
from packlight.exporting.formats import Feeds, Format, WriteOptions
from packlight.exporting.neutral import Neutral
from packlight.exporting.parity import signal_to_noise
from packlight.model import Model, producer_of
from packlight.records import SessionOptions
from packlight.records.export import OperatorDifference
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import open_session

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
EXACT = SessionOptions(arithmetic="exact")


def first_difference(
    format_: Format, neutral: Neutral, feeds: Feeds, required: float, model: Model | None = None
) -> OperatorDifference | None:
    """The first operator whose result has less than the required ratio; None where none has.

    Args:
        format_: writes and runs parts of the model.
        neutral: the model as it was written.
        feeds: of one call.
        required: signal-to-noise ratio, in dB.
        model: the ONNX model, where its integer kernels are compared with; only values that
            DequantizeLinear gives, and outputs, are compared then.
    """
    results = [node.outputs[0] for node in neutral.graph.graph if _is_compared(node)]
    if model is not None:
        names = {str(value.name) for node in model.graph.graph for value in node.outputs}
        results = [value for value in results if value.name in names and _is_rounded(value)]
    ratios: dict[int, float] = {}

    def ratio(index: int) -> float:
        if index not in ratios:
            ratios[index] = part_ratio(format_, neutral, str(results[index].name), feeds, model)
        return ratios[index]

    if not results:
        return None
    found = _first_below(ratio, len(results), required)
    if found is None:
        return None
    value = results[found]
    node = _computing(value)
    before = ratio(found - 1) if found else math.inf
    return OperatorDifference(
        operator=str(node.name),
        op_type=node.op_type,
        value=str(value.name),
        decibels=round(ratio(found), 2),
        before=round(before, 2),
    )


def _first_below(ratio: Callable[[int], float], count: int, required: float) -> int | None:
    """The first index whose ratio is too low, by bisection; None where the last one is not."""
    low = 0
    high = count - 1
    if ratio(high) >= required:
        return None
    while low < high:
        middle = (low + high) // 2
        if ratio(middle) < required:
            high = middle
        else:
            low = middle + 1
    return high


def _is_compared(node: ir.Node) -> bool:
    value = node.outputs[0]
    fixed = value.shape is not None and value.shape.is_static()
    return bool(value.name) and value.dtype in FLOATS and fixed


def _is_rounded(value: ir.Value) -> bool:
    node = value.producer()
    assert node is not None
    return node.op_type == "DequantizeLinear" or value.is_graph_output()


def _computing(value: ir.Value) -> ir.Node:
    """The operator that computes a value, before it is quantized and restored."""
    node = value.producer()
    assert node is not None
    while node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        before = producer_of(node.inputs[0])
        if before is None:
            break
        node = before
    return node


def part_ratio(
    format_: Format, neutral: Neutral, name: str, feeds: Feeds, model: Model | None = None
) -> float:
    """Signal-to-noise ratio of one inner value, in dB; infinite where its part cannot be run."""
    part = cut_behind(neutral, [name])
    assert format_.open is not None
    read = {key: feeds[key] for key in part.inputs}
    with scratch_folder() as folder:
        try:
            expected = _expected(part, name, feeds, model)
            result = _run_part(format_, part, folder, read)
        except (PacklightError, RuntimeError, ValueError):
            return math.inf
    return signal_to_noise(expected[name], result[name])


def _expected(part: Neutral, name: str, feeds: Feeds, model: Model | None) -> Feeds:
    """What ONNX Runtime computes for one value."""
    if model is None:
        return open_session(part.float_model(), EXACT).run({key: feeds[key] for key in part.inputs})
    graph = model.clone()
    _end_at(graph, [name])
    inputs = [str(value.name) for value in graph.graph.inputs]
    return open_session(Model(graph, model.name), DEFAULT_SESSION).run(
        {key: feeds[key] for key in inputs}
    )


def _run_part(format_: Format, part: Neutral, folder: Path, feeds: Feeds) -> Feeds:
    assert format_.open is not None
    written = format_.write(part, folder, WriteOptions())
    runner = format_.open(folder, part, written)
    try:
        return runner.run(feeds)
    finally:
        runner.close()


def cut_behind(neutral: Neutral, names: Sequence[str]) -> Neutral:
    """The part of a model that computes some of its values, which become its outputs."""
    graph = neutral.graph.clone()
    _end_at(graph, names)
    stored_or_fed = {str(value.name) for value in graph.graph.inputs} | set(
        graph.graph.initializers
    )
    weights = {name: weight for name, weight in neutral.weights.items() if name in stored_or_fed}
    return Neutral(Model(graph, neutral.name).name, graph, weights, neutral.bound)


def _end_at(graph: ir.Model, names: Sequence[str]) -> None:
    """Make some values the only outputs, in place, and remove what does not lead to them."""
    values = {str(value.name): value for node in graph.graph for value in node.outputs}
    graph.graph.outputs.clear()
    graph.graph.outputs.extend(values[name] for name in names)
    common.RemoveUnusedNodesPass()(graph)
    for value in list(graph.graph.inputs):
        if not value.uses():
            graph.graph.inputs.remove(value)
