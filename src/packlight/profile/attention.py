"""Multiply-accumulates of attention: scores of queries against keys, and values weighted by them.

Every query meets every key, also where a mask or ``is_causal`` hides it, as dense kernels compute.
Source: ONNX Attention-23; ONNX Runtime's Attention, MultiHeadAttention, GroupQueryAttention and
QAttention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packlight.profile.work import Around, Count, UnknownError, Work, numbers

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
