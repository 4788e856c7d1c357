"""Normalizations, written as the arithmetic that they stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from packlight.exporting.litert.flatbuffer import Tensor
from packlight.exporting.litert.layouts import channels_last, stored_shape
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.values import Operator, UnsupportedError, Value, value_of

PLANE_RANK = 4


def normalized(
    lowering: Lowering, x: Tensor, axes: list[int], epsilon: float, *, center: bool = True
) -> Tensor:
    """Numbers over axes as stored, with mean 0 (where centered) and variance 1."""
    if center:
        x = lowering.binary("SUB", x, lowering.reduce("MEAN", x, axes, keep=True))
    variance = lowering.reduce("MEAN", lowering.binary("MUL", x, x), axes, keep=True)
    spread = lowering.unary("RSQRT", lowering.binary("ADD", variance, epsilon))
    return lowering.binary("MUL", x, spread)


def _layer(lowering: Lowering, op: Operator) -> Result:
    return _normalized_tail(lowering, op, center=True)


def _root_mean_square(lowering: Lowering, op: Operator) -> Result:
    return _normalized_tail(lowering, op, center=False)


def _normalized_tail(lowering: Lowering, op: Operator, *, center: bool) -> Result:
    if len(op.node.outputs) > 1 and any(output.uses() for output in op.node.outputs[1:]):
        raise UnsupportedError("its statistics as outputs")
    x = op.input(0)
    axes = list(range(op.axis(x.rank, -1), x.rank))
    tensor = lowering.form(x)
    result = normalized(lowering, tensor, axes, op.number("epsilon", 1e-5), center=center)
    result = lowering.binary("MUL", result, lowering.form(op.input(1)))
    bias = op.optional(2)
    if bias is not None:
        result = lowering.binary("ADD", result, lowering.form(bias))
    return value_of("", result)


def _instance(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    layout = channels_last(x.rank)
    tensor = lowering.form(x, layout)
    axes = list(range(1, x.rank - 1))
    result = normalized(lowering, tensor, axes, op.number("epsilon", 1e-5))
    result = lowering.binary("MUL", result, lowering.form(op.input(1)))
    return value_of("", lowering.binary("ADD", result, lowering.form(op.input(2))), layout)


def _group(lowering: Lowering, op: Operator) -> Result:
    x, scale, bias = (op.input(index) for index in range(3))
    groups = op.integer("num_groups")
    channels = x.shape[1]
    inner = x.size // (x.shape[0] * groups)
    rows = lowering.reshape(lowering.form(x), (x.shape[0], groups, inner))
    result = normalized(lowering, rows, [2], op.number("epsilon", 1e-5))
    result = lowering.reshape(result, x.shape)
    for name, part in (("MUL", scale), ("ADD", bias)):
        numbers = part.numbers().reshape(-1)
        if numbers.size == groups and groups != channels:
            numbers = np.repeat(numbers, channels // groups)
        shape = (1, channels, *(1,) * (x.rank - 2))
        result = lowering.binary(name, result, lowering.constant(numbers.reshape(shape)))
    return value_of("", result)


def _batch(lowering: Lowering, op: Operator) -> Result:
    if op.integer("training_mode"):
        raise UnsupportedError("training_mode")
    x = op.input(0)
    scale, bias, mean, variance = (
        np.asarray(op.input(index).numbers(), np.float64) for index in range(1, 5)
    )
    factor = scale / np.sqrt(variance + op.number("epsilon", 1e-5))
    layout = lowering.common_layout([x])
    shape = (1, x.shape[1], *(1,) * (x.rank - 2))
    order = stored_shape(shape, layout)
    tensor = lowering.form(x, layout)
    tensor = lowering.binary("MUL", tensor, lowering.constant(factor.reshape(order)))
    offset = (bias - mean * factor).reshape(order)
    return value_of("", lowering.binary("ADD", tensor, lowering.constant(offset)), layout)


def _local_response(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    size = op.integer("size")
    if x.rank != PLANE_RANK or size % 2 == 0:
        raise UnsupportedError(f"{x.rank} axes and a window of {size}")
    layout = channels_last(x.rank)
    tensor = lowering.form(x, layout)
    result = lowering.unary(
        "LOCAL_RESPONSE_NORMALIZATION", tensor,
        radius=size // 2, bias=op.number("bias", 1.0), beta=op.number("beta", 0.75),
        alpha=op.number("alpha", 1e-4) / size,
    )  # fmt: skip
    return value_of("", result, layout)


def _length(lowering: Lowering, op: Operator) -> Result:
    """LpNormalization."""
    x: Value = op.input(0)
    axis = op.axis(x.rank, -1)
    layout = lowering.common_layout([x])
    tensor = lowering.form(x, layout)
    place = [layout.index(axis)]
    if op.integer("p", 2) == 1:
        total = lowering.reduce("SUM", lowering.unary("ABS", tensor), place, keep=True)
    else:
        squares = lowering.binary("MUL", tensor, tensor)
        total = lowering.unary("SQRT", lowering.reduce("SUM", squares, place, keep=True))
    return value_of("", lowering.binary("DIV", tensor, total), layout)


def _mean_variance(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    axes = op.integers("axes") or [0, 2, 3]
    layout = lowering.common_layout([x])
    places = [layout.index(axis % x.rank) for axis in axes]
    tensor = lowering.form(x, layout)
    return value_of("", normalized(lowering, tensor, places, 1e-9), layout)


NORMALIZATION: Mapping[str, Function] = {
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _local_response,
    "LayerNormalization": _layer,
    "LpNormalization": _length,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _root_mean_square,
}
