"""Convolutions of integers in float32 that stay exact, as operators of a graph.

ONNX Runtime has no float64 convolution on CPUs. A float32 sum of integers is exact as long as no
partial sum exceeds 2**24, so each weight is split into digits of few bits, each digit is convolved
by itself, and the parts are put together in int32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from packlight.runtime.exact_products import Operands, as_type, centred, constant, known_shape

EXACT_BELOW = 2**24
LARGEST = 255
"""Largest magnitude of an 8-bit code minus an 8-bit zero point."""

MAGNITUDE_BITS = 8


class UnsizedError(Exception):
    """The weight's shape is not known, or sums over too many products."""


def digit_bits(products: int) -> int:
    """Bits of one digit of a weight, so that sums of so many products stay exact; 0 if none do.

    >>> digit_bits(257), digit_bits(4608), digit_bits(70000)
    (8, 3, 0)
    """
    top = (EXACT_BELOW - 1) // (LARGEST * products)
    return min(MAGNITUDE_BITS, (top + 1).bit_length() - 1)


def conv_sum(tape: Tape, operands: Operands, attributes: Mapping[str, ir.Attr]) -> ir.Value:
    """The convolution of (left - left_zero) with (right - right_zero), int32.

    Padding is with zeros of the difference, that is, with the zero point of the input.

    Args:
        tape: where the operators go.
        operands: left (batch, channels, ...) with at most one zero point, right (out, channels of
            a group, ...) of a known shape, with one zero point or one for each output channel.
        attributes: of the convolution.

    Raises:
        UnsizedError: no digit is small enough, or that cannot be known.
    """
    weight = operands.right
    bits = digit_bits(math.prod(weight_shape(weight)[1:]))
    if bits == 0:
        raise UnsizedError
    zero = operands.right_zero
    spread = None if zero is None else per_channel(tape, zero, weight, axis=0)
    images = centred(tape, operands.left, operands.left_zero, ir.DataType.FLOAT)
    weights = centred(tape, weight, spread, ir.DataType.FLOAT)
    parts = [
        part_sum(tape, tape.op("Conv", [images, digit], attributes), bits * place)
        for place, digit in enumerate(digits(tape, weights, bits))
    ]
    return reduce(lambda total, part: tape.op("Add", [total, part]), parts)


def part_sum(tape: Tape, part: ir.Value, shift: int) -> ir.Value:
    """What the convolution of one digit adds to the sum, int32."""
    worth = constant(tape, np.array(1 << shift, np.int32))
    return tape.op("Mul", [as_type(tape, part, ir.DataType.INT32), worth])


def digits(tape: Tape, weights: ir.Value, bits: int) -> list[ir.Value]:
    """Signed digits of integers (float32), lowest first."""
    base = constant(tape, np.array(1 << bits, np.float32))
    sign, rest = tape.op("Sign", [weights]), tape.op("Abs", [weights])
    found = []
    for _ in range(math.ceil(MAGNITUDE_BITS / bits)):
        higher = tape.op("Floor", [tape.op("Div", [rest, base])])
        digit = tape.op("Sub", [rest, tape.op("Mul", [higher, base])])
        found.append(tape.op("Mul", [digit, sign]))
        rest = higher
    return found


def weight_shape(weight: ir.Value | None) -> tuple[int, ...]:
    """Shape of a weight.

    Raises:
        UnsizedError: it is not stated.
    """
    shape = None if weight is None else known_shape(weight)
    if shape is None:
        raise UnsizedError
    return shape


def per_channel(tape: Tape, value: ir.Value | None, weight: ir.Value | None, axis: int) -> ir.Value:
    """One number, or one for each output channel, along an axis of the weight's rank."""
    shape = np.ones(len(weight_shape(weight)), np.int64)
    shape[axis] = -1
    return tape.op("Reshape", [value, constant(tape, shape)])
