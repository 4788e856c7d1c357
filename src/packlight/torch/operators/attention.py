"""Attention of com.microsoft, without a cache of the past."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from packlight.torch.values import Function, Operator, Tensor


def _heads(x: Tensor, count: int) -> Tensor:
    """(batch, steps, hidden) as (batch, heads, steps, hidden / heads)."""
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def _attend(op: Operator, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attend over heads; ``mask`` is added to the scores.

    Returns:
        (batch, steps, hidden of value).
    """
    scale = op.number("scale", 0.0) or 1 / math.sqrt(query.shape[-1])
    scores = torch.matmul(query, key.transpose(-1, -2)) * scale
    if mask is not None:
        scores = scores + mask
    if op.flag("unidirectional"):
        above = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).triu(1)
        scores = scores.masked_fill(above, op.number("mask_filter_value", -10000.0))
    mixed = torch.matmul(torch.softmax(scores, -1), value)
    return mixed.transpose(1, 2).flatten(2)


def _additive(op: Operator, mask: Tensor | None, dtype: torch.dtype, steps: int) -> Tensor | None:
    """A mask of 0 and 1, or lengths of the sequences, as numbers that are added to scores."""
    if mask is None:
        return None
    if mask.ndim == 1:
        mask = torch.arange(steps, device=mask.device) < mask.unsqueeze(1)
    while mask.ndim < 4:  # noqa: PLR2004  batch, heads, queries, keys
        mask = mask.unsqueeze(1)
    hidden = (mask == 0).to(dtype)
    return hidden * op.number("mask_filter_value", -10000.0)


def _attention(
    op: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    product = torch.matmul(x, weight)
    if bias is not None:
        product = product + bias
    widths = op.integers("qkv_hidden_sizes") or [product.shape[-1] // 3] * 3
    count = op.integer("num_heads")
    query, key, value = (_heads(part, count) for part in torch.split(product, widths, -1))
    added = _additive(op, mask, x.dtype, x.shape[1])
    return _attend(op, query, key, value, added)


def _multi_head(
    op: Operator,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    added: Tensor | None = None,
) -> Tensor:
    count = op.integer("num_heads")
    if bias is not None:
        widths = [query.shape[-1], key.shape[-1], value.shape[-1]]
        query_bias, key_bias, value_bias = torch.split(bias, widths)
        query = query + query_bias
        key = key + key_bias
        value = value + value_bias
    total = _additive(op, mask, query.dtype, key.shape[1])
    if added is not None:
        total = added if total is None else total + added
    return _attend(op, _heads(query, count), _heads(key, count), _heads(value, count), total)


MICROSOFT_ATTENTION: Mapping[str, Function] = {
    "Attention": _attention,
    "MultiHeadAttention": _multi_head,
}
