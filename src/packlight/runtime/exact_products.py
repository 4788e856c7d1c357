"""Matrix products of integers in float64, as operators of a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from packlight.model import stored_tensor


def given(node: ir.Node, index: int) -> ir.Value | None:
    """An optional input."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant(tape: Tape, array: NDArray[np.generic]) -> ir.Value:
    """A stored value, as an operator, so that it may stand in any graph."""
    return tape.op("Constant", [], {"value": ir.tensor(array)})


def as_type(tape: Tape, value: ir.Value | None, kind: ir.DataType) -> ir.Value:
    """A value in another type."""
    return tape.op("Cast", [value], {"to": int(kind)})


def known_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Shape of a value where all of it is stated."""
    stored = stored_tensor(value)
    shape = value.shape if stored is None else stored.shape
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return tuple(int(dim) for dim in shape)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Operands:
    """Two arrays of 8-bit codes, each with its zero point where it has one."""

    left: ir.Value | None
    right: ir.Value | None
    left_zero: ir.Value | None = None
    right_zero: ir.Value | None = None


def matmul_sum(tape: Tape, operands: Operands) -> ir.Value:
    """The product of (left - left_zero) and (right - right_zero), float64.

    A product of 8-bit codes is below 2**16, so float64 is exact up to 2**37 products; as int32,
    which the operators state, the sum is right up to 33,025 products.

    Args:
        tape: where the operators go.
        operands: left (..., rows, inner) with one zero point or one for each row, right
            (..., inner, columns) with one or one for each column.
    """
    left = centred(tape, operands.left, rows(tape, operands.left_zero), ir.DataType.DOUBLE)
    right = centred(tape, operands.right, operands.right_zero, ir.DataType.DOUBLE)
    return tape.op("MatMul", [left, right])


def centred(
    tape: Tape, codes: ir.Value | None, zero: ir.Value | None, kind: ir.DataType
) -> ir.Value:
    """Codes minus their zero point, in a type of float."""
    wide = as_type(tape, codes, kind)
    return wide if zero is None else tape.op("Sub", [wide, as_type(tape, zero, kind)])


def rows(tape: Tape, value: ir.Value | None) -> ir.Value | None:
    """One number for each row as a column, so that it spreads over the columns."""
    shape = None if value is None else known_shape(value)
    if value is None or shape is None or len(shape) != 1 or shape == (1,):
        return value
    return tape.op("Reshape", [value, constant(tape, np.array([-1, 1], np.int64))])


def scaled(tape: Tape, total: ir.Value, left: ir.Value | None, right: ir.Value | None) -> ir.Value:
    """A sum (float64) times the scales of both operands."""
    first = as_type(tape, rows(tape, left), ir.DataType.DOUBLE)
    second = as_type(tape, right, ir.DataType.DOUBLE)
    return tape.op("Mul", [tape.op("Mul", [total, first]), second])
