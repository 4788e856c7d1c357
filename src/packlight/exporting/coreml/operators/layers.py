"""Convolutions, pooling, products, reductions, and quantized activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from packlight.exporting.coreml.lowering import (
    Array,
    Function,
    Lowering,
    Operator,
    Result,
    Value,
    Var,
)
from packlight.exporting.coreml.operators.elementwise import first
from packlight.exporting.einsum import product_plan
from packlight.exporting.operator_view import UnsupportedError
from packlight.exporting.windows import Window, transposed_window_of, window_of

MATRIX = 2


def _pads(window: Window) -> list[int]:
    """Padding before and after along each axis, axis by axis."""
    pairs = zip(window.before, window.after, strict=True)
    return [number for pair in pairs for number in pair]


def _window_arguments(window: Window) -> dict[str, object]:
    return {
        "pad_type": "custom",
        "pad": _pads(window),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
    }


def _convolve(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    weight = op.input(1)
    bias = op.optional(2)
    window = window_of(op, x.shape[2:], weight.shape[2:])
    kernel, factors = _factored(lowering, weight, axis=0)
    arguments = {
        "x": lowering.var(x),
        "weight": kernel,
        "groups": op.integer("group", 1),
        **_window_arguments(window),
    }
    if factors is None and bias is not None:
        arguments["bias"] = lowering.array(bias.numbers())
    result = lowering.op("conv", **arguments)
    if factors is None:
        return result
    shape = (1, -1, *(1,) * (x.rank - 2))
    result = lowering.op("mul", x=result, y=factors.reshape(shape))
    if bias is None:
        return result
    return lowering.op("add", x=result, y=lowering.array(bias.numbers()).reshape(shape))


def _factored(lowering: Lowering, weight: Value, axis: int) -> tuple[Var, Array | None]:
    """A weight, and factors of its outputs that are multiplied with the result instead.

    A product before the operator would be computed at every run.
    """
    if weight.weight is None or weight.var is not None:
        return lowering.var(weight), None
    scaled = lowering.scaled(weight)
    if scaled.scale is None:
        weight.var = scaled.var
        return scaled.var, None
    scale = np.asarray(scaled.scale)
    others = [size for place, size in enumerate(scale.shape) if place != axis]
    if any(size != 1 for size in others):
        return lowering.op("mul", x=scaled.var, y=scale), None
    return scaled.var, np.broadcast_to(scale.reshape(-1), (weight.shape[axis],))


def _convolve_transposed(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    weight = op.input(1)
    bias = op.optional(2)
    window = transposed_window_of(op, x.shape[2:], weight.shape[2:])
    group = op.integer("group", 1)
    sizes = [
        (size - 1) * step + reach
        for size, step, reach in zip(x.shape[2:], window.strides, window.reach, strict=True)
    ]
    arguments = {
        "x": lowering.var(x),
        "weight": lowering.var(weight),
        "pad_type": "valid",
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "groups": group,
        "output_shape": [x.shape[0], weight.shape[1] * group, *sizes],
    }
    result = lowering.op("conv_transpose", **arguments)
    result = _cropped(lowering, result, window)
    if bias is None:
        return result
    shape = (1, -1, *(1,) * (x.rank - 2))
    return lowering.op("add", x=result, y=lowering.array(bias.numbers()).reshape(shape))


def _cropped(lowering: Lowering, x: Var, window: Window) -> Var:
    before = [0, 0, *window.before]
    after = [0, 0, *window.after]
    if any(max(number, 0) for number in (*before, *after)):
        begin = [max(number, 0) for number in before]
        size = [
            length - max(front, 0) - max(back, 0)
            for length, front, back in zip(x.shape, before, after, strict=True)
        ]
        x = lowering.op("slice_by_size", x=x, begin=begin, size=size)
    if min(*before, *after) < 0:
        pads = [max(-n, 0) for pair in zip(before, after, strict=True) for n in pair]
        x = lowering.op("pad", x=x, pad=pads, mode="constant", constant_val=lowering.number(0.0))
    return x


def _pool(kind: str, lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    if len(op.node.outputs) > 1 and op.node.outputs[1].uses():
        raise UnsupportedError("indices as an output")
    window = window_of(op, x.shape[2:], op.integers("kernel_shape"))
    if any(step > 1 for step in window.dilations):
        raise UnsupportedError("dilations")
    arguments = {
        "x": lowering.var(x),
        "kernel_sizes": list(window.kernel),
        "strides": list(window.strides),
        "pad_type": "custom",
        "pad": _pads(window),
        "ceil_mode": False,
    }
    if kind == "avg_pool":
        counts = bool(op.integer("count_include_pad"))
        if counts and op.integer("ceil_mode"):
            raise UnsupportedError("ceil_mode and count_include_pad")
        arguments["exclude_padding_from_average"] = not counts
    return lowering.op(kind, **arguments)


def _global_pool(kind: str, lowering: Lowering, op: Operator) -> Result:
    axes = list(range(2, op.input(0).rank))
    return lowering.op(kind, x=first(lowering, op), axes=axes, keep_dims=True)


def _multiply(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    weight = op.input(1)
    if weight.is_stored and weight.rank == MATRIX and x.rank > 1:
        matrix, factors = _factored(lowering, weight, axis=1)
        result = lowering.product(lowering.var(x), matrix)
        if factors is not None:
            result = lowering.op("mul", x=result, y=factors)
        return result
    left = lowering.var(x)
    right = lowering.var(weight)
    if x.rank == 1:
        left = lowering.op("expand_dims", x=left, axes=[0])
    if weight.rank == 1:
        right = lowering.op("expand_dims", x=right, axes=[1])
    result = lowering.product(left, right)
    alone = [axis for axis, value in ((-2, x), (-1, weight)) if value.rank == 1]
    if alone:
        result = lowering.op("squeeze", x=result, axes=alone)
    return result


def _general_product(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    weight = op.input(1)
    addend = op.optional(2)
    transposed = bool(op.integer("transB"))
    matrix, factors = _factored(lowering, weight, axis=0 if transposed else 1)
    result = lowering.product(
        lowering.var(x), matrix,
        transpose_x=bool(op.integer("transA")), transpose_y=transposed,
    )  # fmt: skip
    if factors is not None:
        result = lowering.op("mul", x=result, y=factors)
    alpha = op.number("alpha", 1.0)
    beta = op.number("beta", 1.0)
    if alpha != 1:
        result = lowering.op("mul", x=result, y=lowering.number(alpha))
    if addend is None or beta == 0:
        return result
    term = lowering.var(addend)
    if beta != 1:
        term = lowering.op("mul", x=term, y=lowering.number(beta))
    return lowering.op("add", x=result, y=term)


def _einsum(lowering: Lowering, op: Operator) -> Result:
    inputs = [op.input(index) for index in range(len(op.inputs))]
    plan = product_plan(op.text("equation", ""), [value.shape for value in inputs])
    batch, rows, inner, columns = map(math.prod, (plan.batch, plan.rows, plan.inner, plan.columns))
    left = _grouped(lowering, inputs[0], plan.first, [batch, rows, inner])
    right = _grouped(lowering, inputs[1], plan.second, [batch, inner, columns])
    product = lowering.product(left, right)
    shape = [*plan.batch, *plan.rows, *plan.columns]
    product = lowering.op("reshape", x=product, shape=shape)
    order = [plan.order.index(axis) for axis in range(len(shape))]
    return lowering.op("transpose", x=product, perm=order)


def _grouped(lowering: Lowering, value: Value, order: tuple[int, ...], shape: list[int]) -> Var:
    """A value with its axes gathered in three."""
    moved = lowering.op("transpose", x=lowering.var(value), perm=list(order))
    return lowering.op("reshape", x=moved, shape=shape)


def _reduce(kind: str, lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    axes = op.axes(x.rank, 1)
    if not axes and op.integer("noop_with_empty_axes"):
        return lowering.var(x)
    return lowering.op(
        kind, x=lowering.var(x), axes=axes or list(range(x.rank)),
        keep_dims=bool(op.integer("keepdims", 1)),
    )  # fmt: skip


def _log_of_sum(lowering: Lowering, op: Operator) -> Result:
    total = _reduce("reduce_sum", lowering, op)
    return lowering.op("log", x=total, epsilon=lowering.number(0.0))


def _argument(kind: str, lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    if op.integer("select_last_index"):
        raise UnsupportedError("select_last_index")
    return lowering.op(
        kind, x=lowering.var(x), axis=op.axis(x.rank, 0), keep_dims=bool(op.integer("keepdims", 1))
    )


def _quantize(lowering: Lowering, op: Operator) -> Result:
    scale, zero, axis = _grid(op)
    return lowering.op(
        "quantize", input=first(lowering, op), scale=lowering.array(scale), zero_point=zero,
        output_dtype=zero.dtype.name, **axis,
    )  # fmt: skip


def _dequantize(lowering: Lowering, op: Operator) -> Result:
    scale, zero, axis = _grid(op)
    return lowering.op(
        "dequantize", input=first(lowering, op), scale=lowering.array(scale), zero_point=zero,
        **axis,
    )  # fmt: skip


def _grid(op: Operator) -> tuple[Array, Array, dict[str, int]]:
    """Scale and zero point of a Q/DQ operator, and the axis that they lie along."""
    scale = np.asarray(op.input(1).numbers())
    zero = np.zeros(scale.shape, np.uint8)
    if op.optional(2) is not None:
        zero = np.asarray(op.input(2).numbers())
    if zero.dtype not in (np.uint8, np.int8) or op.integer("block_size"):
        raise UnsupportedError(f"codes of type {zero.dtype.name}")
    if scale.size == 1:
        return scale.reshape(()), zero.reshape(()), {}
    return scale, zero, {"axis": op.axis(op.input(0).rank, 1)}


REDUCERS = {
    "ReduceL1": "reduce_l1_norm",
    "ReduceL2": "reduce_l2_norm",
    "ReduceLogSumExp": "reduce_log_sum_exp",
    "ReduceMax": "reduce_max",
    "ReduceMean": "reduce_mean",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceSum": "reduce_sum",
    "ReduceSumSquare": "reduce_sum_square",
}

LAYERS: Mapping[str, Function] = {
    **{name: partial(_reduce, kind) for name, kind in REDUCERS.items()},
    "ArgMax": partial(_argument, "reduce_argmax"),
    "ArgMin": partial(_argument, "reduce_argmin"),
    "AveragePool": partial(_pool, "avg_pool"),
    "Conv": _convolve,
    "ConvTranspose": _convolve_transposed,
    "DequantizeLinear": _dequantize,
    "Einsum": _einsum,
    "Gemm": _general_product,
    "GlobalAveragePool": partial(_global_pool, "reduce_mean"),
    "GlobalMaxPool": partial(_global_pool, "reduce_max"),
    "MatMul": _multiply,
    "MaxPool": partial(_pool, "max_pool"),
    "QuantizeLinear": _quantize,
    "ReduceLogSum": _log_of_sum,
}
