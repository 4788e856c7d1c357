"""Operators that compute each number from the numbers at the same place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from packlight.exporting.litert.flatbuffer import Tensor
from packlight.exporting.litert.layouts import Layout, natural
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.values import (
    Operator,
    UnsupportedError,
    Value,
    stored_value,
    value_of,
)


def aligned(lowering: Lowering, values: Sequence[Value]) -> tuple[list[Tensor], Layout]:
    """Tensors of one rank and layout for values that are repeated against each other."""
    rank = max(value.rank for value in values)
    full = [value for value in values if value.rank == rank and not value.is_stored]
    layout = natural(rank)
    if full:
        layout = lowering.common_layout(full)
    spread = [lowering.broadcast(value, rank) for value in values]
    return [lowering.form(value, layout) for value in spread], layout


def unary(name: str, lowering: Lowering, op: Operator) -> Result:
    """An operator of LiteRT on the first input alone."""
    tensor, layout = single(lowering, op)
    return value_of("", lowering.unary(name, tensor), layout)


def single(lowering: Lowering, op: Operator) -> tuple[Tensor, Layout]:
    """The first input in the layout in which it lies."""
    value = op.input(0)
    layout = lowering.common_layout([value])
    return lowering.form(value, layout), layout


def _binary(name: str, lowering: Lowering, op: Operator) -> Result:
    (left, right), layout = aligned(lowering, [op.input(0), op.input(1)])
    shape = np.broadcast_shapes(left.shape, right.shape)
    return value_of("", lowering.emit(name, [left, right], shape, left.dtype), layout)


def _fusing_binary(name: str, lowering: Lowering, op: Operator) -> Result:
    (left, right), layout = aligned(lowering, [op.input(0), op.input(1)])
    shape = np.broadcast_shapes(left.shape, right.shape)
    activation = 0
    if left.dtype == "float32":
        activation, output = lowering.absorb_activation(op.node.outputs[0])
        tensor = lowering.emit(
            name, [left, right], shape, left.dtype, fusedActivationFunction=activation
        )
        value = value_of("", tensor, layout)
        lowering.bind(output, value)
        return value
    return value_of("", lowering.emit(name, [left, right], shape, left.dtype), layout)


def _divide(lowering: Lowering, op: Operator) -> Result:
    if op.input(0).dtype in ("float32", "int32"):
        return _fusing_binary("DIV", lowering, op)
    (left, right), layout = aligned(lowering, [op.input(0), op.input(1)])
    shape = np.broadcast_shapes(left.shape, right.shape)
    narrow = [lowering.emit("CAST", [tensor], tensor.shape, "int32") for tensor in (left, right)]
    quotient = lowering.emit("DIV", narrow, shape, "int32")
    return value_of("", lowering.emit("CAST", [quotient], shape, left.dtype), layout)


def _comparison(name: str, lowering: Lowering, op: Operator) -> Result:
    (left, right), layout = aligned(lowering, [op.input(0), op.input(1)])
    shape = np.broadcast_shapes(left.shape, right.shape)
    return value_of("", lowering.emit(name, [left, right], shape, "bool"), layout)


def _several(name: str, lowering: Lowering, op: Operator) -> Result:
    """Min, Max, Sum and Mean take any number of inputs."""
    tensors, layout = aligned(lowering, [op.input(i) for i in range(len(op.inputs))])
    total = tensors[0]
    for tensor in tensors[1:]:
        total = lowering.binary(name, total, tensor)
    return value_of("", total, layout)


def _mean(lowering: Lowering, op: Operator) -> Result:
    tensors, layout = aligned(lowering, [op.input(i) for i in range(len(op.inputs))])
    total = tensors[0]
    for tensor in tensors[1:]:
        total = lowering.binary("ADD", total, tensor)
    return value_of("", lowering.binary("MUL", total, 1 / len(tensors)), layout)


def _where(lowering: Lowering, op: Operator) -> Result:
    tensors, layout = aligned(lowering, [op.input(i) for i in range(3)])
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    return value_of("", lowering.emit("SELECT_V2", tensors, shape, tensors[1].dtype), layout)


def _cast(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    dtype = op.node.outputs[0].dtype
    if dtype is None:
        raise UnsupportedError("a type that is not known")
    name = dtype.numpy().name
    if name in ("float64", "float16"):
        name = "float32"
    if name not in ("float32", "int8", "int16", "int32", "int64", "uint8", "bool"):
        raise UnsupportedError(f"type {name}")
    if name == tensor.dtype:
        return op.input(0)
    if name == "bool" and tensor.dtype != "bool":
        zero = lowering.constant(np.zeros(()), tensor.dtype)
        different = lowering.emit("NOT_EQUAL", [tensor, zero], tensor.shape, "bool")
        return value_of("", different, layout)
    cast = lowering.emit(
        "CAST", [tensor], tensor.shape, name,
        inDataType=_type_code(tensor.dtype), outDataType=_type_code(name),
    )  # fmt: skip
    return value_of("", cast, layout)


def _type_code(name: str) -> int:
    from packlight.exporting.litert.flatbuffer import TYPES  # noqa: PLC0415

    return TYPES[name]


def _identity(lowering: Lowering, op: Operator) -> Result:
    return op.input(0)


def _dropout(lowering: Lowering, op: Operator) -> Result:
    if len(op.node.outputs) > 1 and list(op.node.outputs[1].uses()):
        raise UnsupportedError("its mask as an output")
    return op.input(0)


def _reciprocal(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    one = lowering.constant(np.ones((1,) * len(tensor.shape)), tensor.dtype)
    return value_of("", lowering.binary("DIV", one, tensor), layout)


def _tangent(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    ratio = lowering.binary("DIV", lowering.unary("SIN", tensor), lowering.unary("COS", tensor))
    return value_of("", ratio, layout)


def _modulo(lowering: Lowering, op: Operator) -> Result:
    if op.integer("fmod"):
        raise UnsupportedError("fmod")
    return _binary("FLOOR_MOD", lowering, op)


def _exclusive_or(lowering: Lowering, op: Operator) -> Result:
    return _comparison("NOT_EQUAL", lowering, op)


def _is_nan(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    return value_of("", lowering.emit("NOT_EQUAL", [tensor, tensor], tensor.shape, "bool"), layout)


NUMERATOR = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
DENOMINATOR = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
    -1.42647390514189e-02,
)  # fmt: skip
ERF_BOUND = 4.0
"""Where the error function is 1 in float32."""


def error_function(lowering: Lowering, tensor: Tensor) -> Tensor:
    """The error function as a ratio of polynomials, right to a few units in the last place.

    Source: Eigen, ``generic_fast_erf_float``.
    """
    upper = lowering.binary("MINIMUM", tensor, ERF_BOUND)
    x = lowering.binary("MAXIMUM", upper, -ERF_BOUND)
    square = lowering.binary("MUL", x, x)
    top = _polynomial(lowering, square, NUMERATOR)
    bottom = _polynomial(lowering, square, DENOMINATOR)
    return lowering.binary("DIV", lowering.binary("MUL", x, top), bottom)


def _polynomial(lowering: Lowering, x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Horner's scheme, highest power first."""
    total = lowering.binary("MUL", x, coefficients[0])
    total = lowering.binary("ADD", total, coefficients[1])
    for coefficient in coefficients[2:]:
        total = lowering.binary("ADD", lowering.binary("MUL", total, x), coefficient)
    return total


def _erf(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    return value_of("", error_function(lowering, tensor), layout)


def _power(lowering: Lowering, op: Operator) -> Result:
    base = op.input(0)
    exponent = op.input(1)
    if exponent.is_stored and exponent.size == 1 and base.dtype == "float32":
        power = float(exponent.numbers().reshape(-1)[0])
        tensor, layout = single(lowering, op)
        if power == 2:  # noqa: PLR2004
            return value_of("", lowering.binary("MUL", tensor, tensor), layout)
        if power == 0.5:  # noqa: PLR2004
            return value_of("", lowering.unary("SQRT", tensor), layout)
        if power == 1:
            return base
    if exponent.dtype != base.dtype:
        tensors, layout = aligned(lowering, [base, exponent])
        cast = lowering.emit("CAST", [tensors[1]], tensors[1].shape, base.dtype)
        return value_of("", lowering.binary("POW", tensors[0], cast), layout)
    return _binary("POW", lowering, op)


def _clip(lowering: Lowering, op: Operator) -> Result:
    tensor, layout = single(lowering, op)
    low, high = lowering.clip_bounds(op.node)
    if math.isnan(low) or math.isnan(high):
        raise UnsupportedError("computed bounds")
    if tensor.dtype == "float32":
        if (low, high) == (0, 6):
            return value_of("", lowering.unary("RELU6", tensor), layout)
        if (low, high) == (0, math.inf):
            return value_of("", lowering.unary("RELU", tensor), layout)
    if high < math.inf:
        tensor = lowering.binary("MINIMUM", tensor, high)
    if low > -math.inf:
        tensor = lowering.binary("MAXIMUM", tensor, low)
    return value_of("", tensor, layout)


UNARY = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Neg": "NEG",
    "Not": "LOGICAL_NOT",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
}
BINARY = {"And": "LOGICAL_AND", "Or": "LOGICAL_OR"}
FUSING_BINARY = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL"}
COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}
SEVERAL = {"Max": "MAXIMUM", "Min": "MINIMUM", "Sum": "ADD"}

ELEMENTWISE: Mapping[str, Function] = {
    **{name: partial(unary, target) for name, target in UNARY.items()},
    **{name: partial(_binary, target) for name, target in BINARY.items()},
    **{name: partial(_fusing_binary, target) for name, target in FUSING_BINARY.items()},
    **{name: partial(_comparison, target) for name, target in COMPARISONS.items()},
    **{name: partial(_several, target) for name, target in SEVERAL.items()},
    "Cast": _cast,
    "Clip": _clip,
    "Div": _divide,
    "Dropout": _dropout,
    "Erf": _erf,
    "Identity": _identity,
    "IsNaN": _is_nan,
    "Mean": _mean,
    "Mod": _modulo,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Tan": _tangent,
    "Where": _where,
    "Xor": _exclusive_or,
}

__all__ = ["ELEMENTWISE", "aligned", "error_function", "single", "stored_value"]
