"""LSTM, GRU and RNN for formats in which they are unrolled, a step for each moment."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from packlight.exporting.operator_view import OperatorView, UnsupportedError
from packlight.exporting.weights import Array

MOST_STEPS = 512
"""Moments up to which a layer is unrolled; each takes some twenty operators."""

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
"""Numbers of gates and of states."""

DEFAULT_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}

BIAS = 3
LENGTHS = 4
"""Inputs that an operator may go without."""


def check_unrolled(op: OperatorView[Any]) -> None:
    """Refuse what a chain of steps does not compute.

    Raises:
        UnsupportedError: with what it is.
    """
    steps = op.input(0).shape[0]
    lengths = op.optional(LENGTHS)
    if op.integer("layout"):
        raise UnsupportedError("layout 1")
    if lengths is not None and not (
        lengths.is_stored and set(op.stored_integers(LENGTHS)) == {steps}
    ):
        raise UnsupportedError("sequences of different lengths")
    if "clip" in op.node.attributes or op.integer("input_forget"):
        raise UnsupportedError("clipped gates")
    if steps > MOST_STEPS:
        raise UnsupportedError(f"{steps} steps; {MOST_STEPS} are unrolled at most")


def directions_of(op: OperatorView[Any]) -> list[bool]:
    """Each direction, True for one that runs backward."""
    kind = op.text("direction", "forward")
    if kind == "bidirectional":
        return [False, True]
    return [kind == "reverse"]


def biases_of(op: OperatorView[Any], direction: int) -> tuple[Array, Array]:
    """Biases of the inputs and of the state of a direction, each (gates * hidden,)."""
    rows = GATES[op.op_type] * op.input(2).shape[-1]
    if op.optional(BIAS) is None:
        return np.zeros(rows), np.zeros(rows)
    joined = np.asarray(op.input(BIAS).numbers())[direction]
    return joined[:rows], joined[rows:]


def activations_of(op: OperatorView[Any], direction: int, available: Container[str]) -> list[str]:
    """Names of the activations of a direction, in the order of ONNX.

    Raises:
        UnsupportedError: one is not among those that are known.
    """
    defaults = DEFAULT_ACTIVATIONS[op.op_type]
    count = len(defaults)
    names = op.texts("activations")[direction * count : (direction + 1) * count] or list(defaults)
    unknown = [name for name in names if name not in available]
    if unknown:
        raise UnsupportedError(f"activation {unknown[0]}")
    return names
