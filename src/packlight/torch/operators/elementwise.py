"""Arithmetic, comparisons, logic and bits: operators on single numbers, broadcast."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import onnx_ir as ir
import torch

from packlight.torch.values import (
    BITS,
    DTYPES,
    RARE_INTEGERS,
    SIGNED_SUB_BYTE,
    STORED_KIND,
    Function,
    Operator,
    Tensor,
    is_float,
)

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]


def _unary(compute: Unary) -> Function:
    def apply(_op: Operator, x: Tensor) -> Tensor:
        if x.dtype in RARE_INTEGERS:
            return compute(x.to(torch.int64)).to(x.dtype)
        return compute(x)

    return apply


def _binary(compute: Binary) -> Function:
    def apply(_op: Operator, x: Tensor, y: Tensor) -> Tensor:
        if x.dtype not in RARE_INTEGERS:
            return compute(x, y)
        result = compute(x.to(torch.int64), y.to(torch.int64))
        if result.dtype == torch.bool:
            return result
        return result.to(x.dtype)

    return apply


def _variadic(compute: Binary) -> Function:
    pair = _binary(compute)

    def apply(op: Operator, *values: Tensor) -> Tensor:
        return functools.reduce(functools.partial(pair, op), values)

    return apply


def _divide(x: Tensor, y: Tensor) -> Tensor:
    if is_float(x):
        return x / y
    return torch.div(x, y, rounding_mode="trunc")


def _shift(op: Operator, x: Tensor, y: Tensor) -> Tensor:
    dtype = x.dtype
    x = x.to(torch.int64)
    y = y.to(torch.int64)
    if op.text("direction", "LEFT") == "LEFT":
        return (x << y).to(dtype)
    return (x >> y).to(dtype)


def _modulo(op: Operator, x: Tensor, y: Tensor) -> Tensor:
    remainder = torch.fmod if op.flag("fmod") else torch.remainder
    result: Tensor = _binary(remainder)(op, x, y)
    return result


def _power(_op: Operator, x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


def _mean(op: Operator, *values: Tensor) -> Tensor:
    total: Tensor = _variadic(torch.add)(op, *values)
    return total / len(values)


def _clip(op: Operator, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Clip; until opset 10 the bounds are attributes."""
    least = op.attributes.get("min", low)
    most = op.attributes.get("max", high)
    if least is None and most is None:
        return x
    if x.dtype in RARE_INTEGERS:
        bounds = [None if bound is None else bound.to(torch.int64) for bound in (low, high)]
        return torch.clamp(x.to(torch.int64), *bounds).to(x.dtype)
    if isinstance(least, float) or isinstance(most, float):
        return torch.clamp(x, least, most)
    return torch.clamp(x, least, most).to(x.dtype)


def _where(_op: Operator, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


def cast(x: Tensor, kind: ir.DataType) -> Tensor:
    """Cast to a type of ONNX; integers of 2 and 4 bits wrap into their range."""
    dtype = DTYPES[kind]
    if kind not in BITS:
        return x.to(dtype)
    mask = (1 << BITS[kind]) - 1
    codes = x.to(torch.int64) & mask
    if kind in SIGNED_SUB_BYTE:
        sign = 1 << (BITS[kind] - 1)
        codes = (codes ^ sign) - sign
    return codes.to(dtype)


def _cast(op: Operator, x: Tensor) -> Tensor:
    return cast(x, ir.DataType(op.integer("to")))


def _cast_like(op: Operator, x: Tensor, like: Tensor) -> Tensor:
    if STORED_KIND in op.attributes:
        return cast(x, ir.DataType(op.integer(STORED_KIND)))
    return x.to(like.dtype)


def _identity(_op: Operator, x: Tensor) -> Tensor:
    return x


def _dropout(op: Operator, x: Tensor, *_settings: Tensor) -> tuple[Tensor, ...]:
    """Return the input: a model drops only while its own framework trains it."""
    return (x, torch.ones_like(x, dtype=torch.bool))[: op.output_count]


def _is_infinite(op: Operator, x: Tensor) -> Tensor:
    infinite = torch.zeros_like(x, dtype=torch.bool)
    if op.flag("detect_negative", default=True):
        infinite = infinite | torch.isneginf(x)
    if op.flag("detect_positive", default=True):
        infinite = infinite | torch.isposinf(x)
    return infinite


ELEMENTWISE: Mapping[str, Function] = {
    "Abs": _unary(torch.abs),
    "Acos": _unary(torch.acos),
    "Acosh": _unary(torch.acosh),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "Asin": _unary(torch.asin),
    "Asinh": _unary(torch.asinh),
    "Atan": _unary(torch.atan),
    "Atanh": _unary(torch.atanh),
    "BitShift": _shift,
    "BitwiseAnd": _binary(torch.bitwise_and),
    "BitwiseNot": _unary(torch.bitwise_not),
    "BitwiseOr": _binary(torch.bitwise_or),
    "BitwiseXor": _binary(torch.bitwise_xor),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _unary(torch.ceil),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Cosh": _unary(torch.cosh),
    "Div": _binary(_divide),
    "Dropout": _dropout,
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "Identity": _identity,
    "IsInf": _is_infinite,
    "IsNaN": _unary(torch.isnan),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "Max": _variadic(torch.maximum),
    "Mean": _mean,
    "Min": _variadic(torch.minimum),
    "Mod": _modulo,
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "Pow": _power,
    "Reciprocal": _unary(torch.reciprocal),
    "Round": _unary(torch.round),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Sinh": _unary(torch.sinh),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _variadic(torch.add),
    "Tan": _unary(torch.tan),
    "Where": _where,
    "Xor": _binary(torch.logical_xor),
}
