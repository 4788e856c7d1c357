"""Operators of MIL that compute each number from those at the same place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Numbers = Any
"""An array, as NumPy's functions return it."""

Arguments = Mapping[str, Any]
"""Values of an operator's inputs by their names in MIL; those that are left out are missing."""

Kernel = Callable[[Arguments], Any]

CASTS = {"fp16": np.float32, "fp32": np.float32, "int32": np.int32, "bool": np.bool_}
"""Types in NumPy by those of MIL; numbers of 16 bits are rounded by whoever calls a kernel."""


def _unary(function: Callable[[Array], Array], arguments: Arguments) -> Numbers:
    return function(arguments["x"])


def _binary(function: Callable[[Array, Array], Array], arguments: Arguments) -> Numbers:
    return function(arguments["x"], arguments["y"])


def _erf(x: Array) -> Numbers:
    from scipy.special import erf  # noqa: PLC0415  scipy takes long to load

    return erf(x)


def _sigmoid(x: Array) -> Numbers:
    from scipy.special import expit  # noqa: PLC0415  scipy takes long to load

    return expit(x)


def _softplus(x: Array) -> Numbers:
    return np.logaddexp(x, np.zeros_like(x))


def _softsign(x: Array) -> Numbers:
    return x / (1 + np.abs(x))


def _log(arguments: Arguments) -> Numbers:
    return np.log(arguments["x"] + arguments.get("epsilon", np.float32(0)))


def _select(arguments: Arguments) -> Numbers:
    return np.where(arguments["cond"], arguments["a"], arguments["b"])


def _cast(arguments: Arguments) -> Numbers:
    x: Array = np.asarray(arguments["x"])
    return x.astype(CASTS[arguments["dtype"]])


def _hard_sigmoid(arguments: Arguments) -> Numbers:
    return np.clip(arguments["x"] * arguments["alpha"] + arguments["beta"], 0, 1)


def _leaky(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    return np.where(x < 0, x * arguments["alpha"], x)


def _elu(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    return np.where(x < 0, np.expm1(np.minimum(x, 0)) * arguments["alpha"], x)


def _gelu(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    if arguments["mode"] == "EXACT":
        return x * 0.5 * (1 + _erf(x / np.float32(math.sqrt(2))))
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)
    return x * 0.5 * (1 + np.tanh(inner))


def _softmax(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    axis = int(arguments["axis"])
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


UNARY: Mapping[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "erf": _erf,
    "exp": np.exp,
    "floor": np.floor,
    "identity": np.asarray,
    "logical_not": np.logical_not,
    "relu": lambda x: np.maximum(x, 0),
    "round": np.rint,
    "sigmoid": _sigmoid,
    "sign": np.sign,
    "silu": lambda x: x * _sigmoid(x),
    "sin": np.sin,
    "softplus": _softplus,
    "softsign": _softsign,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
BINARY: Mapping[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "equal": np.equal,
    "floor_div": np.floor_divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "mul": np.multiply,
    "not_equal": np.not_equal,
    "pow": np.power,
    "real_div": np.divide,
    "sub": np.subtract,
}

ELEMENTWISE: Mapping[str, Kernel] = {
    **{name: partial(_unary, function) for name, function in UNARY.items()},
    **{name: partial(_binary, function) for name, function in BINARY.items()},
    "cast": _cast,
    "elu": _elu,
    "gelu": _gelu,
    "leaky_relu": _leaky,
    "log": _log,
    "select": _select,
    "sigmoid_hard": _hard_sigmoid,
    "softmax": _softmax,
}
