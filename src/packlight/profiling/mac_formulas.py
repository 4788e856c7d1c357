"""Multiply-accumulates of products: convolutions, matrices, recurrent operators.

A multiply-accumulate is a product and its addition to a sum. Every product of a definition counts,
also with the zeros of padding, as every runtime's dense kernel computes them; bias additions do
not. Source: the operator specifications of ONNX up to opset 23, and of ONNX Runtime's own
operators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from packlight.profiling.counts import (
    Count,
    OperatorShapes,
    Sizes,
    UnknownError,
    Work,
    element_count,
)

SCORE = 6
"""Operations on each score: scaling, and softmax (largest, difference, exp, sum, quotient)."""
SOFTCAP = 3
"""Further operations where scores are limited: quotient, tanh, product."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Sizes of an attention.

    Attributes:
        count: query heads, in all samples of the batch.
        queries: of one head.
        keys: that each query attends to, past ones included.
        depth: numbers in a query.
        width: numbers in a value.
    """

    count: int
    queries: int
    keys: int
    depth: int
    width: int

    def products(self, score: int = SCORE) -> Work:
        """Scores and weighted values, with ``score`` operations on each score."""
        scores = self.count * self.queries * self.keys
        return Work(scores * (self.depth + self.width), scores * score)


def attention(shapes: OperatorShapes) -> Work:
    """Attention-23: q (B, heads, Sq, D) or (B, Sq, heads x D), and keys and values likewise."""
    batch, heads, queries, depth = _split_heads(shapes, 0, "q_num_heads")
    _, groups, keys, _ = _split_heads(shapes, 1, "kv_num_heads")
    width = _split_heads(shapes, 2, "kv_num_heads")[3]
    if not groups or heads % groups:
        raise UnknownError(f"{heads} heads of queries cannot share {groups} of keys")
    keys += shapes.past_length(4, 4)
    capped = shapes.node.attributes.get_float("softcap", 0.0) != 0
    score = SCORE + shapes.has(3) + SOFTCAP * capped
    return Heads(batch * heads, queries, keys, depth, width).products(score)


def _split_heads(shapes: OperatorShapes, index: int, name: str) -> tuple[int, int, int, int]:
    """Batch, heads, positions and numbers in each, of an input of three or four dimensions."""
    sizes = shapes.input(index)
    if len(sizes) == 4:  # noqa: PLR2004
        return sizes[0], sizes[1], sizes[2], sizes[3]
    heads = shapes.integer(name, 0)
    if len(sizes) != 3 or heads < 1:  # noqa: PLR2004
        raise UnknownError(f"its input {index} has {len(sizes)} dimensions and {name} is {heads}")
    return sizes[0], heads, sizes[1], sizes[2] // heads


def _projected_attention(shapes: OperatorShapes) -> Work:
    """Attention, QAttention: x (B, S, in) by (in, q + k + v) first; past (2, B, heads, P, D)."""
    batch, positions, wide = shapes.input(0, 3)
    total = shapes.input(1, 2)[1]
    heads = shapes.integer("num_heads", 0)
    sizes = list(shapes.node.attributes.get_ints("qkv_hidden_sizes", [])) or [total // 3] * 3
    if heads < 1:
        raise UnknownError("num_heads is not stated")
    past_index = {"QAttention": 8}.get(shapes.node.op_type, 4)
    keys = positions + shapes.past_length(past_index, 5)
    inner = Heads(batch * heads, positions, keys, sizes[0] // heads, sizes[2] // heads).products()
    return Work(batch * positions * wide * total + inner.macs, inner.other_ops)


def _multi_head(shapes: OperatorShapes) -> Work:
    """MultiHeadAttention: q (B, S, heads x D), or with keys and values (B, S, heads, 3, D)."""
    query = shapes.input(0)
    heads = shapes.integer("num_heads", 0)
    if heads < 1:
        raise UnknownError("num_heads is not stated")
    batch, queries = query[:2]
    depth = query[-1] if len(query) == 5 else query[2] // heads  # noqa: PLR2004
    if not shapes.has(1):
        return Heads(batch * heads, queries, queries, depth, depth).products()
    key = shapes.input(1)
    keys = key[2] if len(key) == 4 else key[1]  # noqa: PLR2004
    keys_with_past = keys + shapes.past_length(6, 4)
    width = depth
    if shapes.has(2):
        width = element_count(shapes.input(2)) // max(1, batch * heads * keys)
    return Heads(batch * heads, queries, keys_with_past, depth, width).products()


def _group_query(shapes: OperatorShapes) -> Work:
    """GroupQueryAttention: q (B, S, heads x D), past keys (B, groups, P, D)."""
    batch, queries, wide = shapes.input(0, 3)
    heads = shapes.integer("num_heads", 0)
    groups = shapes.integer("kv_num_heads", 0)
    if heads < 1 or groups < 1:
        raise UnknownError("num_heads and kv_num_heads are not stated")
    packed_heads = heads
    if not shapes.has(1):
        packed_heads += 2 * groups
    depth = wide // packed_heads
    past = shapes.past_length(3, 4)
    work = Heads(batch * heads, queries, queries + past, depth, depth).products()
    if not past:
        return work
    note = "total_sequence_length is data; past and new keys count"
    return Work(work.macs, work.other_ops, note)


MICROSOFT_ATTENTION: Mapping[str, Count] = {
    "Attention": _projected_attention,
    "GroupQueryAttention": _group_query,
    "MultiHeadAttention": _multi_head,
    "QAttention": _projected_attention,
}
"""ONNX Runtime's own."""


ELLIPSIS = "..."
Letters = dict[str, int]
"""Sizes by letter; dimensions of ``...`` have names like ``...0``, counted from the last."""


def einsum(shapes: OperatorShapes) -> Work:
    """Multiply operand after operand."""
    equation = shapes.text("equation", "").replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    operands = [_letters(term, shapes.input(index)) for index, term in enumerate(terms)]
    sizes = _letter_sizes(operands)
    result = set(_stated_letters(output, sizes) if arrow else _implied_letters(inputs, sizes))
    macs = summed = 0
    product, *remaining = operands
    for index, operand in enumerate(remaining):
        needed = result.union(*remaining[index + 1 :])
        for factor, partner in ((product, operand), (operand, product)):
            if not set(factor) <= needed | set(partner):
                summed += math.prod(factor.values())
        shared = product.keys() & operand.keys()
        joint = {key for key in {*product, *operand} if key in needed or key in shared}
        macs += math.prod(sizes[key] for key in joint)
        product = {key: sizes[key] for key in joint & needed}
    if not remaining and not set(product) <= result:
        summed += math.prod(product.values())
    return Work(macs, summed)


def _letters(term: str, shape: Sizes) -> Letters:
    """Sizes of the letters of one operand.

    Raises:
        UnknownError: the shape has fewer dimensions than the term has letters.
    """
    before, dots, after = term.partition(ELLIPSIS)
    free = len(shape) - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise UnknownError(f"'{term}' does not name the {len(shape)} dimensions that it reads")
    dotted = [f"{ELLIPSIS}{free - 1 - index}" for index in range(free)]
    return dict(zip([*before, *dotted, *after], shape, strict=True))


def _letter_sizes(operands: list[Letters]) -> Letters:
    sizes: Letters = {}
    for operand in operands:
        for key, size in operand.items():
            sizes[key] = max(size, sizes.get(key, 1)) if size else 0
    return sizes


def _stated_letters(term: str, sizes: Mapping[str, int]) -> list[str]:
    if ELLIPSIS not in term:
        return list(term)
    return [*term.replace(ELLIPSIS, ""), *(key for key in sizes if key.startswith(ELLIPSIS))]


def _implied_letters(terms: str, sizes: Mapping[str, int]) -> list[str]:
    plain = terms.replace(ELLIPSIS, "").replace(",", "")
    return [key for key in sizes if key.startswith(ELLIPSIS) or plain.count(key) == 1]


MATRIX = 2


def conv(shapes: OperatorShapes) -> Work:
    """Every output sums over (in / groups) x kernel."""
    return Work(element_count(shapes.output()) * element_count(shapes.input(1)[1:]))


def _quantized_conv(shapes: OperatorShapes) -> Work:
    count = element_count(shapes.output())
    return Work(count * element_count(shapes.input(3)[1:]), REQUANTIZE * count)


def _conv_transpose(shapes: OperatorShapes) -> Work:
    return Work(element_count(shapes.input(0)) * element_count(shapes.input(1)[1:]))


SAMPLE = 8
"""Operations of an interpolation between four values: four products and four sums."""


def _deform_conv(shapes: OperatorShapes) -> Work:
    """As Conv; its inputs are first interpolated between four values, and weighted by a mask.

    x (N, C, H, W), weight (M, C / groups, kH, kW); each of the C channels is sampled at kH x kW
    positions for each output position.
    """
    weight = shapes.input(1, 4)
    output = shapes.output()
    positions = output[0] * output[2] * output[3] * weight[2] * weight[3]
    samples = positions * shapes.input(0, 4)[1]
    masked = samples * shapes.has(4)
    return Work(element_count(output) * element_count(weight[1:]), SAMPLE * samples + masked)


def gemm(shapes: OperatorShapes) -> Work:
    """Every output sums over the inner dimension."""
    inner = shapes.input(0, MATRIX)[0 if shapes.integer("transA", 0) else 1]
    return Work(element_count(shapes.output()) * inner)


def matmul(shapes: OperatorShapes) -> Work:
    """Every output sums over the last axis of the left input, or the last but one if transposed."""
    operand = shapes.input(0)
    transposed = shapes.integer("transA", 0) and len(operand) >= MATRIX
    return Work(element_count(shapes.output()) * operand[-2 if transposed else -1])


REQUANTIZE = 4
"""Operations to scale, round, shift and clip a sum."""


def _quantized_matmul(shapes: OperatorShapes) -> Work:
    count = element_count(shapes.output())
    return Work(count * shapes.input(0)[-1], REQUANTIZE * count)


def _quantized_gemm(shapes: OperatorShapes) -> Work:
    return Work(gemm(shapes).macs, REQUANTIZE * element_count(shapes.output()))


QUANTIZE_INPUT = 6
"""Operations on each number of an input whose range is computed first."""


def _dynamic_matmul(shapes: OperatorShapes) -> Work:
    operand = shapes.input(0)
    count = element_count(shapes.output())
    return Work(count * operand[-1], QUANTIZE_INPUT * element_count(operand) + count)


def _scaled_matmul(shapes: OperatorShapes) -> Work:
    count = element_count(shapes.output())
    return Work(count * shapes.input(0)[-1], count)


def _block_product(shapes: OperatorShapes) -> Work:
    depth = shapes.integer("K", 0)
    width = shapes.integer("N", 0)
    return Work(element_count(shapes.input(0)) * width, 2 * depth * width)


GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEP: Mapping[str, int] = {"LSTM": 9, "GRU": 8, "RNN": 1}
"""Operations besides products for each number of the state at each step.

LSTM: 3 sigmoids, 2 tanh, 3 products, a sum. GRU: 2 sigmoids, tanh, r * h, 1 - z, two products and
their sum. RNN: tanh.
"""
PEEPHOLES = 3
"""Gates of an LSTM that read the cell too, each with one product that is added to its sum."""

FULL = "sequence_lens is data, so every sequence counts at full length"


def recurrent(shapes: OperatorShapes) -> Work:
    """Multiply the input and the state by the weights of all gates at each step.

    x (steps, batch, in), or (batch, steps, in) with layout 1; W (directions, gates x hidden, in).
    linear_before_reset moves a product of GRU behind another operation and changes no count.
    """
    first, second, width = shapes.input(0, 3)
    directions, rows, _ = shapes.input(1, 3)
    op = shapes.node.op_type
    steps = first * second * directions
    hidden = rows // GATES[op]
    peepholes = PEEPHOLES * hidden * (op == "LSTM" and shapes.has(7))
    products = rows * (width + hidden) + peepholes
    return Work(steps * products, steps * hidden * STEP[op], FULL if shapes.has(4) else "")


def _dynamic_lstm(shapes: OperatorShapes) -> Work:
    """As an LSTM, whose weights lie the other way round; inputs and states become codes."""
    first, second, width = shapes.input(0, 3)
    directions, _, rows = shapes.input(1, 3)
    steps = first * second * directions
    hidden = rows // GATES["LSTM"]
    peepholes = PEEPHOLES * hidden * shapes.has(7)
    quantize = QUANTIZE_INPUT * (first * second * width + steps * hidden)
    other = steps * hidden * STEP["LSTM"] + quantize + 2 * steps * rows
    macs = steps * (rows * (width + hidden) + peepholes)
    return Work(macs, other, FULL if shapes.has(4) else "")


MACS: Mapping[str, Count] = {
    "Conv": conv,
    "ConvInteger": conv,
    "QLinearConv": _quantized_conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform_conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "QLinearMatMul": _quantized_matmul,
    "Einsum": einsum,
    **dict.fromkeys(GATES, recurrent),
    "Attention": attention,
}
"""Standard operators with products."""

MICROSOFT_MACS: Mapping[str, Count] = {
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "FusedConv": conv,
    "FusedGemm": gemm,
    "FusedMatMul": matmul,
    "MatMulIntegerToFloat": _scaled_matmul,
    "MatMulNBits": _block_product,
    "QGemm": _quantized_gemm,
    "QLinearConv": _quantized_conv,
    "TransposeMatMul": matmul,
    **MICROSOFT_ATTENTION,
}
"""ONNX Runtime's own."""
