"""Activations and what normalizes over one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from packlight.exporting.litert.flatbuffer import Tensor
from packlight.exporting.litert.layouts import Layout, natural
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.operators.elementwise import aligned, single, unary
from packlight.exporting.litert.values import Operator, Value, value_of

SOFTMAX_BY_AXIS_OPSET = 13
HIGHEST_SOFTMAX_RANK = 4
SELU = (1.6732632423543772, 1.0507009873554805)


def _leaky(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    alpha = op.number("alpha", 0.01)
    return value_of("", lowering.unary("LEAKY_RELU", tensor, alpha=alpha), layout)


def _exponential_linear(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    return value_of("", _elu(lowering, tensor, op.number("alpha", 1.0)), layout)


def _elu(lowering: Lowering, tensor: Tensor, alpha: float) -> Tensor:
    if alpha == 1:
        return lowering.unary("ELU", tensor)
    below = lowering.unary("ELU", lowering.binary("MINIMUM", tensor, 0.0))
    scaled = lowering.binary("MUL", below, alpha)
    return lowering.binary("ADD", lowering.unary("RELU", tensor), scaled)


def _scaled_exponential_linear(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    unit = _elu(lowering, tensor, op.number("alpha", SELU[0]))
    return value_of("", lowering.binary("MUL", unit, op.number("gamma", SELU[1])), layout)


def _celu(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    alpha = op.number("alpha", 1.0)
    unit = lowering.unary("ELU", lowering.binary("MUL", tensor, 1 / alpha))
    below = lowering.binary("MUL", lowering.binary("MINIMUM", unit, 0.0), alpha)
    return value_of("", lowering.binary("ADD", lowering.unary("RELU", tensor), below), layout)


def _parametric(lowering: Lowering, op: Operator) -> Result:
    (tensor, slope), layout = aligned(lowering, [op.input(0), op.input(1)])
    negative = lowering.binary("MUL", lowering.binary("MINIMUM", tensor, 0.0), slope)
    return value_of("", lowering.binary("ADD", lowering.unary("RELU", tensor), negative), layout)


def _hard_sigmoid(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    alpha = op.number("alpha", 0.2)
    beta = op.number("beta", 0.5)
    return value_of("", hard_sigmoid(lowering, tensor, alpha, beta), layout)


def hard_sigmoid(lowering: Lowering, tensor: Tensor, alpha: float, beta: float) -> Tensor:
    """A line cut off at 0 and 1."""
    line = lowering.binary("ADD", lowering.binary("MUL", tensor, alpha), beta)
    return lowering.binary("MAXIMUM", lowering.binary("MINIMUM", line, 1.0), 0.0)


def _softplus(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    return value_of("", softplus(lowering, tensor), layout)


def softplus(lowering: Lowering, tensor: Tensor) -> Tensor:
    """log(1 + exp(x)) that does not overflow."""
    decay = lowering.unary("EXP", lowering.unary("NEG", lowering.unary("ABS", tensor)))
    tail = lowering.unary("LOG", lowering.binary("ADD", decay, 1.0))
    return lowering.binary("ADD", lowering.unary("RELU", tensor), tail)


def _softsign(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    scale = lowering.binary("ADD", lowering.unary("ABS", tensor), 1.0)
    return value_of("", lowering.binary("DIV", tensor, scale), layout)


def _mish(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    gate = lowering.unary("TANH", softplus(lowering, tensor))
    return value_of("", lowering.binary("MUL", tensor, gate), layout)


def _swish(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    inner = lowering.binary("MUL", tensor, op.number("alpha", 1.0))
    gate = lowering.unary("LOGISTIC", inner)
    return value_of("", lowering.binary("MUL", tensor, gate), layout)


def _gelu(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    if op.text("approximate", "none") == "tanh":
        cube = lowering.binary("MUL", lowering.binary("MUL", tensor, tensor), tensor)
        inner = lowering.binary("ADD", tensor, lowering.binary("MUL", cube, 0.044715))
        gate = lowering.unary("TANH", lowering.binary("MUL", inner, math.sqrt(2 / math.pi)))
    else:
        return value_of("", lowering.unary("GELU", tensor, approximate=False), layout)
    half = lowering.binary("MUL", tensor, 0.5)
    return value_of("", lowering.binary("MUL", half, lowering.binary("ADD", gate, 1.0)), layout)


def _thresholded(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    bound = lowering.constant(op.number("alpha", 1.0))
    above = lowering.emit("GREATER", [tensor, bound], tensor.shape, "bool")
    zeros = lowering.binary("MUL", tensor, 0.0)
    kept = lowering.emit("SELECT_V2", [above, tensor, zeros], tensor.shape, tensor.dtype)
    return value_of("", kept, layout)


def _normalized(name: str, lowering: Lowering, op: Operator) -> Result:
    """Softmax and LogSoftmax."""
    value = op.input(0)
    if op.opset < SOFTMAX_BY_AXIS_OPSET:
        return _flattened(name, lowering, op, value)
    axis = op.axis(value.rank, -1)
    layout = last_axis_layout(lowering, value, axis)
    return value_of("", _over_last(name, lowering, lowering.form(value, layout)), layout)


def last_axis_layout(lowering: Lowering, value: Value, axis: int) -> Layout:
    """A layout with an axis last, one in which the value lies if there is one."""
    for layout in lowering.layouts(value):
        if layout[-1] == axis:
            return layout
    others = [other for other in natural(value.rank) if other != axis]
    return (*others, axis)


def _flattened(name: str, lowering: Lowering, op: Operator, value: Value) -> Result:
    axis = op.axis(value.rank, 1)
    rows = math.prod(value.shape[:axis])
    tensor = lowering.form(value)
    matrix = lowering.reshape(tensor, (rows, value.size // max(rows, 1)))
    result = _over_last(name, lowering, matrix)
    return value_of("", lowering.reshape(result, value.shape))


def _over_last(name: str, lowering: Lowering, tensor: Tensor) -> Tensor:
    options = {}
    if name == "SOFTMAX":
        options["beta"] = 1.0
    if len(tensor.shape) <= HIGHEST_SOFTMAX_RANK:
        return lowering.unary(name, tensor, **options)
    matrix = lowering.reshape(tensor, (math.prod(tensor.shape[:-1]), tensor.shape[-1]))
    return lowering.reshape(lowering.unary(name, matrix, **options), tensor.shape)


def _hard_max(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    layout = last_axis_layout(lowering, value, op.axis(value.rank, -1))
    tensor = lowering.form(value, layout)
    axis = lowering.constant(len(tensor.shape) - 1, "int32")
    place = lowering.emit("ARG_MAX", [tensor, axis], tensor.shape[:-1], "int32", outputType=2)
    depth = lowering.constant(tensor.shape[-1], "int32")
    hot = lowering.constant(np.float32(1))
    cold = lowering.constant(np.float32(0))
    result = lowering.emit("ONE_HOT", [place, depth, hot, cold], tensor.shape, "float32", axis=-1)
    return value_of("", result, layout)


ACTIVATIONS: Mapping[str, Function] = {
    "Celu": _celu,
    "Elu": _exponential_linear,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": partial(unary, "HARD_SWISH"),
    "Hardmax": _hard_max,
    "LeakyRelu": _leaky,
    "LogSoftmax": partial(_normalized, "LOG_SOFTMAX"),
    "Mish": _mish,
    "PRelu": _parametric,
    "Relu": partial(unary, "RELU"),
    "Selu": _scaled_exponential_linear,
    "Sigmoid": partial(unary, "LOGISTIC"),
    "Softmax": partial(_normalized, "SOFTMAX"),
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Swish": _swish,
    "Tanh": partial(unary, "TANH"),
    "ThresholdedRelu": _thresholded,
}
