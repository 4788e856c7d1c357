"""Replace integer operators by references whose integers are exact on every machine.

ONNX Runtime's 8-bit kernels saturate sums of two products at 16 bits on x86 without VNNI, even
with graph optimizations off. The references compute products in float64. ONNX Runtime has no
float64 convolution on CPUs, and a float32 sum of integers is exact as long as no partial sum
exceeds 2**24; so the weight of a convolution is split into digits of few bits, each digit is
convolved, and the parts are added in int32.

Source: the ONNX operators MatMulInteger-10, ConvInteger-10, QLinearMatMul-21, QLinearConv-10,
DynamicQuantizeLinear-11; ONNX Runtime's ContribOperators.md for those of ``com.microsoft``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from packlight.model import Model, nodes, optional_input
from packlight.runtime.exact_recurrent import dynamic_quantize_lstm
from packlight.runtime.exact_sums import (
    Operands,
    UnsizedError,
    Value,
    cast_to,
    centered_codes,
    constant_value,
    matmul_sum,
    scale_sum,
    static_shape,
)

MICROSOFT = "com.microsoft"
FLOAT32_ACTIVATIONS = 1
"""``accuracy_level`` of MatMulNBits that keeps its activations in float32."""

INEXACT_PREFIXES = (
    "DynamicQuantize", "MatMulInteger", "MatMulFpQ4", "QAttention", "QEmbed", "QGemm",
    "QLinear", "QMoE", "QOrdered",
)  # fmt: skip
"""Families of ``com.microsoft`` that compute with integers."""

Reference = Callable[[Tape, ir.Node], ir.Value | Sequence[ir.Value]]

EXACT_BELOW = 2**24
LARGEST_DIFFERENCE = 255
"""Largest magnitude of an 8-bit code minus an 8-bit zero point."""

MAGNITUDE_BITS = 8


def with_exact_integers(model: Model) -> tuple[Model, tuple[str, ...]]:
    """Replace all integer operators of a clone, those in subgraphs too, by references.

    Returns:
        The rewritten model, and ``TYPE NAME`` of each integer operator that has no reference. The
        names of values are kept.
    """
    clone = model.clone()
    inner = [node for function in clone.functions.values() for node in function.all_nodes()]
    inexact = tuple(
        f"{node.op_type} {node.name or node.outputs[0].name}"
        for node in [*nodes(clone), *inner]
        if not _replace_by_reference(node)
    )
    return Model(clone, model.name), inexact


def _replace_by_reference(node: ir.Node) -> bool:
    """Replace one operator if it computes with integers; False where that is not possible."""
    key = ("" if node.domain == "ai.onnx" else node.domain, node.op_type)
    if key == (MICROSOFT, "MatMulNBits"):
        node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", FLOAT32_ACTIVATIONS)
        return True
    reference = REFERENCES.get(key)
    if reference is None:
        return not (key[0] == MICROSOFT and key[1].startswith(INEXACT_PREFIXES))
    tape = Tape()
    try:
        result = reference(tape, node)
    except UnsizedError:
        return False
    replace_node(node, tape.nodes, result)
    return True


def replace_node(
    node: ir.Node, new: Sequence[ir.Node], results: ir.Value | Sequence[ir.Value]
) -> None:
    """Replace an operator by new ones; its outputs keep their names."""
    graph = node.graph
    assert graph is not None
    if isinstance(results, ir.Value):
        results = [results]
    pairs = [pair for pair in zip(node.outputs, results, strict=False) if pair[0].name]
    stem = next((old.name for old, _ in pairs), node.name)
    for index, new_node in enumerate(new):
        new_node.name = f"{node.name or stem}.exact.{index}"
        for slot, value in enumerate(new_node.outputs):
            value.name = f"{stem}.exact.{index}.{slot}"
    before = [old for old, _ in pairs]
    after = [result for _, result in pairs]
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, before, after)


def _matmul_integer(tape: Tape, node: ir.Node) -> ir.Value:
    a, b = node.inputs[:2]
    total = matmul_sum(tape, Operands(a, b, optional_input(node, 2), optional_input(node, 3)))
    return cast_to(tape, total, ir.DataType.INT32)


def _qlinear_matmul(tape: Tape, node: ir.Node) -> ir.Value:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    total = matmul_sum(tape, Operands(a, b, a_zero, b_zero))
    return _requantize(tape, scale_sum(tape, total, a_scale, b_scale), y_scale, y_zero)


def _conv_integer(tape: Tape, node: ir.Node) -> ir.Value:
    x, w = node.inputs[:2]
    operands = Operands(x, w, optional_input(node, 2), optional_input(node, 3))
    return _conv_sum(tape, operands, node.attributes)


def _qlinear_conv(tape: Tape, node: ir.Node) -> ir.Value:
    """An exact sum with its bias, scaled in float64, rounded to the grid of the output."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    total = _conv_sum(tape, Operands(x, w, x_zero, w_zero), node.attributes)
    bias = optional_input(node, 8)
    if bias is not None:
        total = tape.op("Add", [total, per_channel(tape, bias, w, axis=1)])
    wide = cast_to(tape, total, ir.DataType.DOUBLE)
    scale = per_channel(tape, w_scale, w, axis=1)
    return _requantize(tape, scale_sum(tape, wide, x_scale, scale), y_scale, y_zero)


def _requantize(tape: Tape, real: ir.Value, scale: Value, zero: Value) -> ir.Value:
    narrow = cast_to(tape, real, ir.DataType.FLOAT)
    return tape.op("QuantizeLinear", [narrow, cast_to(tape, scale, ir.DataType.FLOAT), zero])


def _matmul_integer_to_float(tape: Tape, node: ir.Node) -> ir.Value:
    a, b, a_scale, b_scale = node.inputs[:4]
    total = matmul_sum(tape, Operands(a, b, optional_input(node, 4), optional_input(node, 5)))
    real = scale_sum(tape, total, a_scale, b_scale)
    return _add_bias(tape, real, optional_input(node, 6), a_scale)


def _dynamic_quantize_matmul(tape: Tape, node: ir.Node) -> ir.Value:
    a, b, b_scale = node.inputs[:3]
    codes, a_scale, a_zero = tape.op_multi_out("DynamicQuantizeLinear", [a], num_outputs=3)
    total = matmul_sum(tape, Operands(codes, b, a_zero, optional_input(node, 3)))
    real = scale_sum(tape, total, a_scale, b_scale)
    return _add_bias(tape, real, optional_input(node, 4), a_scale)


def _add_bias(tape: Tape, real: ir.Value, bias: ir.Value | None, like: ir.Value | None) -> ir.Value:
    if bias is not None:
        real = tape.op("Add", [real, cast_to(tape, bias, ir.DataType.DOUBLE)])
    kind = like.dtype if like is not None else None
    return cast_to(tape, real, kind or ir.DataType.FLOAT)


REFERENCES: dict[tuple[str, str], Reference] = {
    ("", "MatMulInteger"): _matmul_integer,
    ("", "QLinearMatMul"): _qlinear_matmul,
    ("", "ConvInteger"): _conv_integer,
    ("", "QLinearConv"): _qlinear_conv,
    (MICROSOFT, "MatMulIntegerToFloat"): _matmul_integer_to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): _dynamic_quantize_matmul,
    (MICROSOFT, "DynamicQuantizeLSTM"): dynamic_quantize_lstm,
}
"""Function that builds the reference, by domain and type."""


def digit_bits(products: int) -> int:
    """Bits of one digit of a weight that keep sums of ``products`` terms exact; 0 if none do.

    >>> digit_bits(257), digit_bits(4608), digit_bits(70000)
    (8, 3, 0)
    """
    top = (EXACT_BELOW - 1) // (LARGEST_DIFFERENCE * products)
    return min(MAGNITUDE_BITS, (top + 1).bit_length() - 1)


def _conv_sum(tape: Tape, operands: Operands, attributes: Mapping[str, ir.Attr]) -> ir.Value:
    """The convolution of (left - left_zero) with (right - right_zero), int32.

    Padding is with zeros of the difference, that is, with the zero point of the input.

    Args:
        tape: where the operators go.
        operands: left (batch, channels, ...) with at most one zero point, right (out, channels of
            a group, ...) of a known shape, with one zero point or one for each output channel.
        attributes: of the convolution.

    Raises:
        UnsizedError: no digit is small enough, or the shape is unknown.
    """
    weight = operands.right
    bits = digit_bits(math.prod(_weight_shape(weight)[1:]))
    if bits == 0:
        raise UnsizedError
    zeros = operands.right_zero
    if zeros is not None:
        zeros = per_channel(tape, zeros, weight, axis=0)
    images = centered_codes(tape, operands.left, operands.left_zero, ir.DataType.FLOAT)
    weights = centered_codes(tape, weight, zeros, ir.DataType.FLOAT)
    parts = [
        _weighted_digit(tape, tape.op("Conv", [images, digit], attributes), bits * index)
        for index, digit in enumerate(_digits(tape, weights, bits))
    ]
    return reduce(lambda total, part: tape.op("Add", [total, part]), parts)


def _weighted_digit(tape: Tape, part: ir.Value, shift: int) -> ir.Value:
    weight = constant_value(tape, np.array(1 << shift, np.int32))
    return tape.op("Mul", [cast_to(tape, part, ir.DataType.INT32), weight])


def _digits(tape: Tape, weights: ir.Value, bits: int) -> list[ir.Value]:
    """Signed digits of integers (float32), lowest first."""
    base = constant_value(tape, np.array(1 << bits, np.float32))
    sign = tape.op("Sign", [weights])
    magnitude = tape.op("Abs", [weights])
    signed_digits = []
    for _ in range(math.ceil(MAGNITUDE_BITS / bits)):
        higher = tape.op("Floor", [tape.op("Div", [magnitude, base])])
        digit = tape.op("Sub", [magnitude, tape.op("Mul", [higher, base])])
        signed_digits.append(tape.op("Mul", [digit, sign]))
        magnitude = higher
    return signed_digits


def _weight_shape(weight: ir.Value | None) -> tuple[int, ...]:
    """Shape of a weight.

    Raises:
        UnsizedError: it is unknown.
    """
    shape = static_shape(weight) if weight is not None else None
    if shape is None:
        raise UnsizedError
    return shape


def per_channel(tape: Tape, value: ir.Value | None, weight: ir.Value | None, axis: int) -> ir.Value:
    """One number, or one for each output channel, along an axis of the weight's rank."""
    shape = np.ones(len(_weight_shape(weight)), np.int64)
    shape[axis] = -1
    return tape.op("Reshape", [value, constant_value(tape, shape)])
