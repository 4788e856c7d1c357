"""Reductions over axes, and what is summed along one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from packlight.exporting.litert.flatbuffer import Tensor
from packlight.exporting.litert.layouts import Layout
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.operators.activations import last_axis_layout
from packlight.exporting.litert.values import Operator, UnsupportedError, Value, value_of


def _axes(op: Operator, value: Value) -> list[int] | None:
    axes = op.axes(value.rank, 1)
    if axes:
        return axes
    if op.integer("noop_with_empty_axes"):
        return None
    return list(range(value.rank))


def _reduce(name: str, lowering: Lowering, op: Operator) -> Result:
    return _reduced(lowering, op, name)


def _reduced(lowering: Lowering, op: Operator, name: str, tensor: Tensor | None = None) -> Value:
    """Reduce the first input, or a tensor that was computed from it in its layout."""
    value = op.input(0)
    axes = _axes(op, value)
    layout = lowering.common_layout([value])
    if tensor is None:
        tensor = lowering.form(value, layout)
    if axes is None:
        return value_of("", tensor, layout)
    keep = bool(op.integer("keepdims", 1))
    places = [layout.index(axis) for axis in axes]
    result = lowering.reduce(name, tensor, places, keep=keep)
    if keep:
        return value_of("", result, layout)
    return value_of("", result, layout_without(layout, axes))


def layout_without(layout: Layout, axes: list[int]) -> Layout:
    """Layout of a value that lost axes."""
    kept = [axis for axis in layout if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def _source(lowering: Lowering, op: Operator) -> Tensor:
    value = op.input(0)
    return lowering.form(value, lowering.common_layout([value]))


def _reduce_l1(lowering: Lowering, op: Operator) -> Result:
    return _reduced(lowering, op, "SUM", lowering.unary("ABS", _source(lowering, op)))


def _sum_of_squares(lowering: Lowering, op: Operator) -> Value:
    source = _source(lowering, op)
    return _reduced(lowering, op, "SUM", lowering.binary("MUL", source, source))


def _reduce_l2(lowering: Lowering, op: Operator) -> Result:
    return _mapped(lowering, "SQRT", _sum_of_squares(lowering, op))


def _reduce_square(lowering: Lowering, op: Operator) -> Result:
    return _sum_of_squares(lowering, op)


def _reduce_log_sum(lowering: Lowering, op: Operator) -> Result:
    return _mapped(lowering, "LOG", _reduced(lowering, op, "SUM"))


def _reduce_log_sum_exp(lowering: Lowering, op: Operator) -> Result:
    """Through the largest number, so that nothing overflows."""
    value = op.input(0)
    axes = _axes(op, value)
    if axes is None:
        return value
    source = _source(lowering, op)
    layout = lowering.common_layout([value])
    places = [layout.index(axis) for axis in axes]
    largest = lowering.reduce("REDUCE_MAX", source, places, keep=True)
    powers = lowering.unary("EXP", lowering.binary("SUB", source, largest))
    total = lowering.unary("LOG", lowering.reduce("SUM", powers, places, keep=True))
    result = lowering.binary("ADD", total, largest)
    if op.integer("keepdims", 1):
        return value_of("", result, layout)
    shape = [size for place, size in enumerate(result.shape) if place not in places]
    return value_of("", lowering.reshape(result, shape), layout_without(layout, axes))


def _mapped(lowering: Lowering, name: str, value: Value) -> Value:
    layout, tensor = next(iter(value.forms.items()))
    return value_of("", lowering.unary(name, tensor), layout)


def _argument(name: str, lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    axis = op.axis(value.rank, 0)
    if op.integer("select_last_index"):
        raise UnsupportedError("select_last_index")
    layout = last_axis_layout(lowering, value, axis)
    tensor = lowering.form(value, layout)
    place = lowering.constant(value.rank - 1, "int32")
    result = lowering.emit(name, [tensor, place], tensor.shape[:-1], "int64", outputType=4)
    if op.integer("keepdims", 1):
        return value_of("", lowering.reshape(result, (*result.shape, 1)), layout)
    return value_of("", result, layout_without(layout, [axis]))


def _cumulative_sum(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    axis = op.input(1).integers()[0]
    layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    place = lowering.constant(layout.index(axis % value.rank), "int32")
    result = lowering.emit(
        "CUMSUM", [tensor, place], tensor.shape, tensor.dtype,
        exclusive=bool(op.integer("exclusive")), reverse=bool(op.integer("reverse")),
    )  # fmt: skip
    return value_of("", result, layout)


def _largest(lowering: Lowering, op: Operator) -> Result:
    """TopK."""
    value = op.input(0)
    axis = op.axis(value.rank, -1)
    count = op.input(1).integers()[0]
    layout = last_axis_layout(lowering, value, axis)
    tensor = lowering.form(value, layout)
    if not op.integer("largest", 1):
        tensor = lowering.unary("NEG", tensor)
    shape = (*tensor.shape[:-1], count)
    values = lowering.builder.tensor(lowering.name(), shape, tensor.dtype)
    places = lowering.builder.tensor(lowering.name(), shape, "int32")
    lowering.builder.operator(
        "TOPK_V2", [tensor, lowering.constant(count, "int32")], [values, places]
    )
    if not op.integer("largest", 1):
        values = lowering.unary("NEG", values)
    wide = lowering.emit("CAST", [places], shape, "int64", inDataType=2, outDataType=4)
    return value_of("", values, layout), value_of("", wide, layout)


REDUCERS = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
    "ReduceSum": "SUM",
}

REDUCTIONS: Mapping[str, Function] = {
    **{name: partial(_reduce, target) for name, target in REDUCERS.items()},
    "ArgMax": partial(_argument, "ARG_MAX"),
    "ArgMin": partial(_argument, "ARG_MIN"),
    "CumSum": _cumulative_sum,
    "ReduceL1": _reduce_l1,
    "ReduceL2": _reduce_l2,
    "ReduceLogSum": _reduce_log_sum,
    "ReduceLogSumExp": _reduce_log_sum_exp,
    "ReduceSumSquare": _reduce_square,
    "TopK": _largest,
}
