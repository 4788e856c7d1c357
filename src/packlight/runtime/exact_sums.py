"""Sums of products of 8-bit codes in float64, in which they are exact, and what builds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from packlight.model import stored_tensor

Value = ir.Value | None


class UnsizedError(Exception):
    """The weight's shape is unknown, or sums over too many products."""


def constant_value(tape: Tape, array: NDArray[np.generic]) -> ir.Value:
    """A stored value as a Constant, which any graph may hold."""
    return tape.op("Constant", [], {"value": ir.tensor(array)})


def cast_to(tape: Tape, value: ir.Value | None, kind: ir.DataType) -> ir.Value:
    """Cast a value to another type."""
    return tape.op("Cast", [value], {"to": int(kind)})


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Shape of a value; None where a dimension is open."""
    shape = (stored_tensor(value) or value).shape
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
    left_zero = _as_column(tape, operands.left_zero)
    factors = [
        centered_codes(tape, operands.left, left_zero, ir.DataType.DOUBLE),
        centered_codes(tape, operands.right, operands.right_zero, ir.DataType.DOUBLE),
    ]
    return tape.op("MatMul", factors)


def centered_codes(tape: Tape, codes: Value, zero: Value, kind: ir.DataType) -> ir.Value:
    """Codes minus the code of zero, in a wider type."""
    wide = cast_to(tape, codes, kind)
    if zero is None:
        return wide
    return tape.op("Sub", [wide, cast_to(tape, zero, kind)])


def _as_column(tape: Tape, value: ir.Value | None) -> ir.Value | None:
    if value is None:
        return None
    shape = static_shape(value)
    if shape is None or len(shape) != 1 or shape == (1,):
        return value
    return tape.op("Reshape", [value, constant_value(tape, np.array([-1, 1], np.int64))])


def scale_sum(tape: Tape, total: ir.Value, left_scale: Value, right_scale: Value) -> ir.Value:
    """A sum of products of codes times both scales."""
    first = cast_to(tape, _as_column(tape, left_scale), ir.DataType.DOUBLE)
    second = cast_to(tape, right_scale, ir.DataType.DOUBLE)
    return tape.op("Mul", [tape.op("Mul", [total, first]), second])
