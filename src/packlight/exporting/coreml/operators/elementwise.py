"""Operators that compute each number from the numbers at the same place, and activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
from coremltools.converters.mil.mil import types

from packlight.exporting.coreml.lowering import Function, Lowering, Operator, Result, Var
from packlight.exporting.operator_view import UnsupportedError

SOFTMAX_BY_AXIS_OPSET = 13
SELU = (1.6732632423543772, 1.0507009873554805)
INTEGERS = ("int32", "int16", "int8", "uint8")
CAST_TYPES: Mapping[str, str] = {"int64": "int32", "int32": "int32", "bool": "bool"}


def first(lowering: Lowering, op: Operator) -> Var:
    """The first input in the program."""
    return lowering.var(op.input(0))


def is_integer(var: Var) -> bool:
    """Tell whether a value holds integers."""
    return str(var.dtype.__name__) in INTEGERS


def _unary(kind: str, lowering: Lowering, op: Operator) -> Result:
    return lowering.op(kind, x=first(lowering, op))


def _binary(kind: str, lowering: Lowering, op: Operator) -> Result:
    return lowering.op(kind, x=first(lowering, op), y=lowering.var(op.input(1)))


def _several(kind: str, lowering: Lowering, op: Operator) -> Result:
    total = first(lowering, op)
    for index in range(1, len(op.inputs)):
        total = lowering.op(kind, x=total, y=lowering.var(op.input(index)))
    return total


def _mean(lowering: Lowering, op: Operator) -> Result:
    total = _several("add", lowering, op)
    return lowering.op("mul", x=total, y=lowering.number(1 / len(op.inputs)))


def _divide(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    y = lowering.var(op.input(1))
    if not is_integer(x):
        return lowering.op("real_div", x=x, y=y)
    size = lowering.op("floor_div", x=lowering.op("abs", x=x), y=lowering.op("abs", x=y))
    signs = lowering.op("mul", x=lowering.op("sign", x=x), y=lowering.op("sign", x=y))
    return lowering.op("mul", x=size, y=signs)


def _log(lowering: Lowering, op: Operator) -> Result:
    return lowering.op("log", x=first(lowering, op), epsilon=lowering.number(0.0))


def _reciprocal(lowering: Lowering, op: Operator) -> Result:
    return lowering.op("real_div", x=lowering.number(1.0), y=first(lowering, op))


def _power(lowering: Lowering, op: Operator) -> Result:
    base = first(lowering, op)
    exponent = op.input(1)
    if exponent.is_stored and np.size(exponent.numbers()) == 1:
        power = float(np.reshape(exponent.numbers(), -1)[0])
        if power == 2:  # noqa: PLR2004
            return lowering.op("mul", x=base, y=base)
        if power == 0.5:  # noqa: PLR2004
            return lowering.op("sqrt", x=base)
        return lowering.op("pow", x=base, y=lowering.number(power))
    return lowering.op("pow", x=base, y=lowering.var(exponent))


def _clip(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    bounds = []
    for index, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        given = op.optional(index)
        bound = op.number(name, default)
        if given is not None:
            bound = float(np.reshape(given.numbers(), -1)[0])
        bounds.append(bound)
    if bounds[0] > -math.inf:
        x = lowering.op("maximum", x=x, y=like(lowering, x, bounds[0]))
    if bounds[1] < math.inf:
        x = lowering.op("minimum", x=x, y=like(lowering, x, bounds[1]))
    return x


def like(lowering: Lowering, x: Var, number: float) -> object:
    """A number in the type of a value."""
    if is_integer(x):
        return np.int32(number)
    return lowering.number(number)


def _cast(lowering: Lowering, op: Operator) -> Result:
    name = ir.DataType(op.integer("to")).numpy().name
    x = first(lowering, op)
    if name in ("float32", "float16", "float64"):
        return lowering.op("cast", x=x, dtype=lowering.float_type)
    if name not in CAST_TYPES:
        raise UnsupportedError(f"type {name}")
    return lowering.op("cast", x=x, dtype=CAST_TYPES[name])


def _where(lowering: Lowering, op: Operator) -> Result:
    condition, a, b = (op.input(index) for index in range(3))
    shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    mask, first_part, second_part = (
        spread(lowering, lowering.var(value), shape) for value in (condition, a, b)
    )
    return lowering.op("select", cond=mask, a=first_part, b=second_part)


def spread(lowering: Lowering, x: Var, shape: tuple[int, ...]) -> Var:
    """A value repeated to a shape, as NumPy broadcasts it."""
    missing = len(shape) - len(x.shape)
    if missing:
        x = lowering.op("reshape", x=x, shape=[1] * missing + list(x.shape))
    counts = [size // own for size, own in zip(shape, x.shape, strict=True)]
    if set(counts) <= {1}:
        return x
    return moved(lowering, "tile", x, reps=counts)


def moved(lowering: Lowering, kind: str, x: Var, **arguments: object) -> Var:
    """The result of an operator that takes no truth values, for them too."""
    if x.dtype != types.bool:
        return lowering.op(kind, x=x, **arguments)
    numbers = lowering.op("cast", x=x, dtype="int32")
    result = lowering.op(kind, x=numbers, **arguments)
    return lowering.op("cast", x=result, dtype="bool")


def _identity(lowering: Lowering, op: Operator) -> Result:
    return first(lowering, op)


def _hard_sigmoid(lowering: Lowering, op: Operator) -> Result:
    alpha = op.number("alpha", 0.2)
    beta = op.number("beta", 0.5)
    return lowering.op(
        "sigmoid_hard", x=first(lowering, op),
        alpha=lowering.number(alpha), beta=lowering.number(beta),
    )  # fmt: skip


def _hard_swish(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    gate = lowering.op("sigmoid_hard", x=x, alpha=lowering.number(1 / 6), beta=lowering.number(0.5))
    return lowering.op("mul", x=x, y=gate)


def _leaky(lowering: Lowering, op: Operator) -> Result:
    alpha = lowering.number(op.number("alpha", 0.01))
    return lowering.op("leaky_relu", x=first(lowering, op), alpha=alpha)


def _elu(lowering: Lowering, op: Operator) -> Result:
    alpha = lowering.number(op.number("alpha", 1.0))
    return lowering.op("elu", x=first(lowering, op), alpha=alpha)


def _celu(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    alpha = op.number("alpha", 1.0)
    unit = lowering.op("mul", x=x, y=lowering.number(1 / alpha))
    below = lowering.op("elu", x=unit, alpha=lowering.number(alpha))
    below = lowering.op("minimum", x=below, y=lowering.number(0.0))
    return lowering.op("add", x=lowering.op("relu", x=x), y=below)


def _thresholded(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    above = lowering.op("greater", x=x, y=lowering.number(op.number("alpha", 1.0)))
    return lowering.op("mul", x=x, y=lowering.op("cast", x=above, dtype=lowering.float_type))


def _hard_max(lowering: Lowering, op: Operator) -> Result:
    """One where a number is the largest along an axis, the first of several."""
    value = op.input(0)
    axis = op.axis(value.rank, -1)
    places = lowering.op("reduce_argmax", x=first(lowering, op), axis=axis, keep_dims=False)
    return lowering.op(
        "one_hot", indices=places, one_hot_vector_size=value.shape[axis], axis=axis,
        on_value=lowering.number(1.0), off_value=lowering.number(0.0),
    )  # fmt: skip


def _is_nan(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    return lowering.op("not_equal", x=x, y=x)


def _selu(lowering: Lowering, op: Operator) -> Result:
    alpha = lowering.number(op.number("alpha", SELU[0]))
    unit = lowering.op("elu", x=first(lowering, op), alpha=alpha)
    return lowering.op("mul", x=unit, y=lowering.number(op.number("gamma", SELU[1])))


def _parametric(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    slope = lowering.var(op.input(1))
    below = lowering.op("minimum", x=x, y=lowering.number(0.0))
    return lowering.op("add", x=lowering.op("relu", x=x), y=lowering.op("mul", x=below, y=slope))


def _gelu(lowering: Lowering, op: Operator) -> Result:
    tanh = op.text("approximate", "none") == "tanh"
    mode = "TANH_APPROXIMATION" if tanh else "EXACT"
    return lowering.op("gelu", x=first(lowering, op), mode=mode)


def _mish(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    gate = lowering.op("tanh", x=lowering.op("softplus", x=x))
    return lowering.op("mul", x=x, y=gate)


def _softmax(lowering: Lowering, op: Operator) -> Result:
    return _over_axis(lowering, op, logarithm=False)


def _log_softmax(lowering: Lowering, op: Operator) -> Result:
    return _over_axis(lowering, op, logarithm=True)


def _over_axis(lowering: Lowering, op: Operator, *, logarithm: bool) -> Result:
    x = first(lowering, op)
    value = op.input(0)
    axis = op.axis(value.rank, -1 if op.opset >= SOFTMAX_BY_AXIS_OPSET else 1)
    flattened = op.opset < SOFTMAX_BY_AXIS_OPSET and axis != value.rank - 1
    if flattened:
        rows = math.prod(value.shape[:axis])
        x = lowering.op("reshape", x=x, shape=[rows, math.prod(value.shape[axis:])])
        axis = 1
    if logarithm:
        total = lowering.op("reduce_log_sum_exp", x=x, axes=[axis], keep_dims=True)
        x = lowering.op("sub", x=x, y=total)
    else:
        x = lowering.op("softmax", x=x, axis=axis)
    if flattened:
        x = lowering.op("reshape", x=x, shape=list(value.shape))
    return x


UNARY = {
    "Abs": "abs",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Not": "logical_not",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Swish": "silu",
    "Tan": "tan",
    "Tanh": "tanh",
}
BINARY = {
    "Add": "add",
    "And": "logical_and",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Mod": "mod",
    "Mul": "mul",
    "Or": "logical_or",
    "Sub": "sub",
    "Xor": "logical_xor",
}
SEVERAL = {"Max": "maximum", "Min": "minimum", "Sum": "add"}


def _negative(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    return lowering.op("mul", x=x, y=like(lowering, x, -1))


ELEMENTWISE: Mapping[str, Function] = {
    **{name: partial(_unary, kind) for name, kind in UNARY.items()},
    **{name: partial(_binary, kind) for name, kind in BINARY.items()},
    **{name: partial(_several, kind) for name, kind in SEVERAL.items()},
    "Cast": _cast,
    "Celu": _celu,
    "Clip": _clip,
    "Div": _divide,
    "Dropout": _identity,
    "Elu": _elu,
    "Gelu": _gelu,
    "Hardmax": _hard_max,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _identity,
    "IsNaN": _is_nan,
    "LeakyRelu": _leaky,
    "Log": _log,
    "LogSoftmax": _log_softmax,
    "Mean": _mean,
    "Mish": _mish,
    "Neg": _negative,
    "PRelu": _parametric,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Selu": _selu,
    "Softmax": _softmax,
    "ThresholdedRelu": _thresholded,
    "Where": _where,
}
