"""Multiply-accumulates of products: convolutions, matrices, recurrent operators.

One is a product and its addition to a sum. Every product of a definition counts, those with the
zeros of padding too, as every runtime's dense kernel computes them; the additions of a bias do not.
Source: the operator specifications of ONNX up to opset 23, and of ONNX Runtime's own operators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from packlight.profiling.counts import Around, Count, Sizes, UnknownError, Work, numbers

SCORE = 6
"""Operations on each score: scaling, and softmax (largest, difference, exp, sum, quotient)."""
SOFTCAP = 3
"""Further operations where scores are limited: quotient, tanh, product."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Sizes of an attention.

    Attributes:
        count: heads of queries, in all samples of the batch.
        queries: of one head.
        keys: that each query meets, those of the past included.
        depth: numbers in a query.
        width: numbers in a value.
    """

    count: int
    queries: int
    keys: int
    depth: int
    width: int

    def products(self, score: int = SCORE) -> Work:
        """Scores and weighted values, with so many operations on each score."""
        scores = self.count * self.queries * self.keys
        return Work(scores * (self.depth + self.width), scores * score)


def attention(around: Around) -> Work:
    """Attention-23: q (B, heads, Sq, D) or (B, Sq, heads x D), and keys and values likewise."""
    batch, heads, queries, depth = split(around, 0, "q_num_heads")
    _, groups, keys, _ = split(around, 1, "kv_num_heads")
    width = split(around, 2, "kv_num_heads")[3]
    if not groups or heads % groups:
        raise UnknownError(f"{heads} heads of queries cannot share {groups} of keys")
    past = around.read(4, 4)[2] if around.has(4) else 0
    capped = around.node.attributes.get_float("softcap", 0.0) != 0
    score = SCORE + around.has(3) + SOFTCAP * capped
    return Heads(batch * heads, queries, keys + past, depth, width).products(score)


def split(around: Around, place: int, name: str) -> tuple[int, int, int, int]:
    """Batch, heads, positions and numbers in each, of an input of three or four dimensions."""
    sizes = around.read(place)
    if len(sizes) == 4:  # noqa: PLR2004
        return sizes[0], sizes[1], sizes[2], sizes[3]
    heads = around.integer(name, 0)
    if len(sizes) != 3 or heads < 1:  # noqa: PLR2004
        raise UnknownError(f"its input {place} has {len(sizes)} dimensions and {name} is {heads}")
    return sizes[0], heads, sizes[1], sizes[2] // heads


def projected_attention(around: Around) -> Work:
    """Attention, QAttention: x (B, S, in) by (in, q + k + v) first; past (2, B, heads, P, D)."""
    batch, positions, wide = around.read(0, 3)
    total = around.read(1, 2)[1]
    heads = around.integer("num_heads", 0)
    sizes = list(around.node.attributes.get_ints("qkv_hidden_sizes", [])) or [total // 3] * 3
    if heads < 1:
        raise UnknownError("num_heads is not stated")
    past_at = 8 if around.node.op_type == "QAttention" else 4
    past = around.read(past_at, 5)[3] if around.has(past_at) else 0
    inner = Heads(
        batch * heads, positions, positions + past, sizes[0] // heads, sizes[2] // heads
    ).products()
    return Work(batch * positions * wide * total + inner.macs, inner.other_ops)


def multi_head(around: Around) -> Work:
    """MultiHeadAttention: q (B, S, heads x D), or with keys and values (B, S, heads, 3, D)."""
    query, heads = around.read(0), around.integer("num_heads", 0)
    if heads < 1:
        raise UnknownError("num_heads is not stated")
    batch, queries = query[:2]
    depth = query[-1] if len(query) == 5 else query[2] // heads  # noqa: PLR2004
    if not around.has(1):
        return Heads(batch * heads, queries, queries, depth, depth).products()
    key = around.read(1)
    keys = key[2] if len(key) == 4 else key[1]  # noqa: PLR2004
    past = around.read(6, 4)[2] if around.has(6) else 0
    if not around.has(2):
        return Heads(batch * heads, queries, keys + past, depth, depth).products()
    width = numbers(around.read(2)) // max(1, batch * heads * keys)
    return Heads(batch * heads, queries, keys + past, depth, width).products()


def group_query(around: Around) -> Work:
    """GroupQueryAttention: q (B, S, heads x D), past keys (B, groups, P, D)."""
    query, heads = around.read(0, 3), around.integer("num_heads", 0)
    batch, queries, wide = query
    groups = around.integer("kv_num_heads", 0)
    if heads < 1 or groups < 1:
        raise UnknownError("num_heads and kv_num_heads are not stated")
    depth = wide // (heads if around.has(1) else heads + 2 * groups)
    past = around.read(3, 4)[2] if around.has(3) else 0
    note = "total_sequence_length is data; keys kept and new ones count" if past else ""
    work = Heads(batch * heads, queries, queries + past, depth, depth).products()
    return Work(work.macs, work.other_ops, note)


MICROSOFT_ATTENTION: Mapping[str, Count] = {
    "Attention": projected_attention,
    "GroupQueryAttention": group_query,
    "MultiHeadAttention": multi_head,
    "QAttention": projected_attention,
}
"""ONNX Runtime's own."""


ELLIPSIS = "..."
Letters = dict[str, int]
"""Sizes by letter; dimensions of ``...`` have names like ``...0``, counted from the last."""


def einsum(around: Around) -> Work:
    """Products of operand after operand."""
    equation = around.text("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    operands = [letters(term, around.read(place)) for place, term in enumerate(terms)]
    whole = widest(operands)
    wanted = set(given_letters(right, whole)) if arrow else set(implied(left, whole))
    macs = summed = 0
    product, *rest = operands
    for place, operand in enumerate(rest):
        needed = wanted.union(*rest[place + 1 :])
        for one, other in ((product, operand), (operand, product)):
            if not set(one) <= needed | set(other):
                summed += math.prod(one.values())
        both = {
            key
            for key in {*product, *operand}
            if key in needed or (key in product and key in operand)
        }
        macs += math.prod(whole[key] for key in both)
        product = {key: whole[key] for key in both & needed}
    if not rest and not set(product) <= wanted:
        summed += math.prod(product.values())
    return Work(macs, summed)


def letters(term: str, shape: Sizes) -> Letters:
    """Sizes of the letters of one operand.

    Raises:
        UnknownError: the shape has fewer dimensions than the term has letters.
    """
    before, dots, after = term.partition(ELLIPSIS)
    free = len(shape) - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise UnknownError(f"'{term}' does not name the {len(shape)} dimensions that it reads")
    names = [*before, *(f"{ELLIPSIS}{free - 1 - place}" for place in range(free)), *after]
    return dict(zip(names, shape, strict=True))


def widest(operands: list[Letters]) -> Letters:
    """The size of every letter; 1 is repeated where another operand has more."""
    whole: Letters = {}
    for operand in operands:
        for key, size in operand.items():
            whole[key] = max(size, whole.get(key, 1)) if size else 0
    return whole


def given_letters(term: str, whole: Mapping[str, int]) -> list[str]:
    """Letters of the result, where the equation states them."""
    dots = [key for key in whole if key.startswith(ELLIPSIS)] if ELLIPSIS in term else []
    return [*term.replace(ELLIPSIS, ""), *dots]


def implied(terms: str, whole: Mapping[str, int]) -> list[str]:
    """Letters of the result where the equation does not state them: those that stand once."""
    plain = terms.replace(ELLIPSIS, "").replace(",", "")
    return [key for key in whole if key.startswith(ELLIPSIS) or plain.count(key) == 1]


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
