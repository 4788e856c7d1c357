"""Normalizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from packlight.exporting.coreml.lowering import Function, Lowering, Operator, Result, Var
from packlight.exporting.coreml.operators.elementwise import first
from packlight.exporting.operator_view import UnsupportedError

MEAN_VARIANCE_EPSILON = 1e-9
"""Added to the variance by ONNX's MeanVarianceNormalization."""


def _layer_norm(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    _refuse_statistics(op)
    axes = list(range(op.axis(x.rank, -1), x.rank))
    arguments = {"gamma": lowering.array(op.input(1).numbers())}
    bias = op.optional(2)
    if bias is not None:
        arguments["beta"] = lowering.array(bias.numbers())
    return lowering.op(
        "layer_norm", x=lowering.var(x), axes=axes,
        epsilon=lowering.epsilon(op.number("epsilon", 1e-5)), **arguments,
    )  # fmt: skip


def _instance_norm(lowering: Lowering, op: Operator) -> Result:
    scale, bias = (lowering.array(op.input(index).numbers()) for index in (1, 2))
    return lowering.op(
        "instance_norm", x=first(lowering, op), gamma=scale, beta=bias,
        epsilon=lowering.epsilon(op.number("epsilon", 1e-5)),
    )  # fmt: skip


def _batch_norm(lowering: Lowering, op: Operator) -> Result:
    """As a product and a sum, with their factors computed in float64."""
    x = op.input(0)
    if op.integer("training_mode"):
        raise UnsupportedError("training_mode")
    scale, bias, mean, variance = (
        np.asarray(op.input(index).numbers(), np.float64) for index in range(1, 5)
    )
    factor = scale / np.sqrt(variance + op.number("epsilon", 1e-5))
    shape = (1, -1, *(1,) * (x.rank - 2))
    result = lowering.op("mul", x=lowering.var(x), y=lowering.array(factor.reshape(shape)))
    offset = (bias - mean * factor).reshape(shape)
    return lowering.op("add", x=result, y=lowering.array(offset))


def _refuse_statistics(op: Operator) -> None:
    if any(output.uses() for output in op.node.outputs[1:]):
        raise UnsupportedError("its statistics as outputs")


def _root_mean_square(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    _refuse_statistics(op)
    axes = list(range(op.axis(x.rank, -1), x.rank))
    epsilon = lowering.epsilon(op.number("epsilon", 1e-5))
    result = _scaled_to_one(lowering, lowering.var(x), axes, epsilon)
    return lowering.op("mul", x=result, y=lowering.var(op.input(1)))


def _scaled_to_one(lowering: Lowering, x: Var, axes: Sequence[int], epsilon: object) -> Var:
    """Numbers over the root of the mean of their squares."""
    squares = lowering.op("mul", x=x, y=x)
    mean = lowering.op("reduce_mean", x=squares, axes=list(axes), keep_dims=True)
    spread = lowering.op("sqrt", x=lowering.op("add", x=mean, y=epsilon))
    return lowering.op("real_div", x=x, y=spread)


def _mean_variance(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    axes = [axis % op.input(0).rank for axis in op.integers("axes") or [0, 2, 3]]
    mean = lowering.op("reduce_mean", x=x, axes=axes, keep_dims=True)
    centered = lowering.op("sub", x=x, y=mean)
    return _scaled_to_one(lowering, centered, axes, lowering.epsilon(MEAN_VARIANCE_EPSILON))


def _group_norm(lowering: Lowering, op: Operator) -> Result:
    x, scale, bias = (op.input(index) for index in range(3))
    groups = op.integer("num_groups")
    channels = x.shape[1]
    rows = lowering.op("reshape", x=lowering.var(x), shape=[x.shape[0], groups, -1])
    mean = lowering.op("reduce_mean", x=rows, axes=[2], keep_dims=True)
    centered = lowering.op("sub", x=rows, y=mean)
    epsilon = lowering.epsilon(op.number("epsilon", 1e-5))
    result = _scaled_to_one(lowering, centered, [2], epsilon)
    result = lowering.op("reshape", x=result, shape=list(x.shape))
    for kind, part in (("mul", scale), ("add", bias)):
        numbers = np.reshape(part.numbers(), -1)
        if numbers.size == groups != channels:  # as in opsets before 21
            numbers = np.repeat(numbers, channels // groups)
        shape = (1, channels, *(1,) * (x.rank - 2))
        result = lowering.op(kind, x=result, y=lowering.array(numbers.reshape(shape)))
    return result


def _length(lowering: Lowering, op: Operator) -> Result:
    """LpNormalization."""
    x = first(lowering, op)
    kind = "reduce_l1_norm" if op.integer("p", 2) == 1 else "reduce_l2_norm"
    total = lowering.op(kind, x=x, axes=[op.axis(op.input(0).rank, -1)], keep_dims=True)
    return lowering.op("real_div", x=x, y=total)


def _local_response(lowering: Lowering, op: Operator) -> Result:
    """LRN: a sum of squares over neighboring channels, as a product with a band."""
    value = op.input(0)
    size = op.integer("size")
    channels = value.shape[1]
    band = np.zeros((channels, channels))
    for channel in range(channels):
        begin = max(channel - (size - 1) // 2, 0)
        band[channel, begin : channel + size // 2 + 1] = 1
    band *= op.number("alpha", 1e-4) / size
    x = first(lowering, op)
    squares = lowering.op("mul", x=x, y=x)
    flat = lowering.op("reshape", x=squares, shape=[value.shape[0], channels, -1])
    total = lowering.product(lowering.array(band), flat)
    total = lowering.op("reshape", x=total, shape=list(value.shape))
    base = lowering.op("add", x=total, y=lowering.number(op.number("bias", 1.0)))
    divisor = lowering.op("pow", x=base, y=lowering.number(op.number("beta", 0.75)))
    return lowering.op("real_div", x=x, y=divisor)


NORMALIZATION: Mapping[str, Function] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _length,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _root_mean_square,
}
