"""Multiply-accumulates of products: convolutions, matrices, recurrent operators.

One is a product and its addition to a sum. Every product of a definition counts, those with the
zeros of padding too, as every runtime's dense kernel computes them; the additions of a bias do not.
Source: the operator specifications of ONNX up to opset 23, and of ONNX Runtime's own operators.
"""

from __future__ import annotations

from collections.abc import Mapping

from packlight.profile.attention import MICROSOFT_ATTENTION, attention
from packlight.profile.einsum import einsum
from packlight.profile.work import Around, Count, Work, numbers

MATRIX = 2


def conv(around: Around) -> Work:
    """Every output sums over (in / groups) x kernel."""
    return Work(numbers(around.given()) * numbers(around.read(1)[1:]))


def quantized_conv(around: Around) -> Work:
    """QLinearConv: the weight is the fourth input; every sum is scaled, rounded and limited."""
    given = numbers(around.given())
    return Work(given * numbers(around.read(3)[1:]), REQUANTIZE * given)


def conv_transpose(around: Around) -> Work:
    """Every input is spread over (out / groups) x kernel."""
    return Work(numbers(around.read(0)) * numbers(around.read(1)[1:]))


SAMPLE = 8
"""Operations for a value between four others: four products and four sums."""


def deform_conv(around: Around) -> Work:
    """As Conv; each of its inputs is first taken from between four values, and weighted by a mask.

    x (N, C, H, W), weight (M, C / groups, kH, kW); each of the C channels is sampled at each of
    kH x kW places for each output position.
    """
    weight, given = around.read(1, 4), around.given()
    places = given[0] * given[2] * given[3] * weight[2] * weight[3]
    samples = places * around.read(0, 4)[1]
    masked = samples if around.has(4) else 0
    return Work(numbers(given) * numbers(weight[1:]), SAMPLE * samples + masked)


def gemm(around: Around) -> Work:
    """Every output sums over the inner dimension."""
    inner = around.read(0, MATRIX)[0 if around.integer("transA", 0) else 1]
    return Work(numbers(around.given()) * inner)


def matmul(around: Around) -> Work:
    """Every output sums over the last axis of the left input, or the last but one if turned."""
    left = around.read(0)
    turned = around.integer("transA", 0) and len(left) >= MATRIX
    return Work(numbers(around.given()) * left[-2 if turned else -1])


REQUANTIZE = 4
"""Operations to scale, round, move and limit a sum."""


def quantized_matmul(around: Around) -> Work:
    """QLinearMatMul: the same, and every sum is scaled, rounded and limited."""
    given = numbers(around.given())
    return Work(given * around.read(0)[-1], REQUANTIZE * given)


def quantized_gemm(around: Around) -> Work:
    """QGemm: a product of matrices, and every sum is scaled, rounded and limited."""
    return Work(gemm(around).macs, REQUANTIZE * numbers(around.given()))


QUANTIZE_INPUT = 6
"""Operations on each number of an input whose range is found first."""


def dynamic_matmul(around: Around) -> Work:
    """DynamicQuantizeMatMul: finds the range of its input, quantizes it, and scales each sum."""
    left, given = around.read(0), numbers(around.given())
    return Work(given * left[-1], QUANTIZE_INPUT * numbers(left) + given)


def scaled_matmul(around: Around) -> Work:
    """MatMulIntegerToFloat: scales each sum."""
    given = numbers(around.given())
    return Work(given * around.read(0)[-1], given)


def block_product(around: Around) -> Work:
    """MatMulNBits: a product with (K, N) restored from blocks: a sum and a product for each."""
    depth, width = around.integer("K", 0), around.integer("N", 0)
    return Work(numbers(around.read(0)) * width, 2 * depth * width)


GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEP: Mapping[str, int] = {"LSTM": 9, "GRU": 8, "RNN": 1}
"""Operations besides products for each number of the state at each step.

LSTM: 3 sigmoids, 2 tanh, 3 products, a sum. GRU: 2 sigmoids, tanh, r * h, 1 - z, two products and
their sum. RNN: tanh.
"""
PEEPHOLES = 3
"""Gates of an LSTM that look at the cell too, each with one product that is added to its sum."""

FULL = "sequence_lens is data, so every sequence counts at full length"


def recurrent(around: Around) -> Work:
    """Each step multiplies the input and the state by the weights of all gates.

    x (steps, batch, in), or (batch, steps, in) with layout 1; W (directions, gates x hidden, in).
    linear_before_reset moves a product of GRU behind another operation and changes no count.
    """
    first, second, width = around.read(0, 3)
    directions, rows, _ = around.read(1, 3)
    op, steps = around.node.op_type, first * second * directions
    hidden = rows // GATES[op]
    peepholes = PEEPHOLES * hidden if op == "LSTM" and around.has(7) else 0
    products = rows * (width + hidden) + peepholes
    return Work(steps * products, steps * hidden * STEP[op], FULL if around.has(4) else "")


MACS: Mapping[str, Count] = {
    "Conv": conv,
    "ConvInteger": conv,
    "QLinearConv": quantized_conv,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "QLinearMatMul": quantized_matmul,
    "Einsum": einsum,
    **dict.fromkeys(GATES, recurrent),
    "Attention": attention,
}
"""Standard operators with products."""

MICROSOFT_MACS: Mapping[str, Count] = {
    "DynamicQuantizeMatMul": dynamic_matmul,
    "FusedConv": conv,
    "FusedGemm": gemm,
    "FusedMatMul": matmul,
    "MatMulIntegerToFloat": scaled_matmul,
    "MatMulNBits": block_product,
    "QGemm": quantized_gemm,
    "QLinearConv": quantized_conv,
    "TransposeMatMul": matmul,
    **MICROSOFT_ATTENTION,
}
"""ONNX Runtime's own."""
