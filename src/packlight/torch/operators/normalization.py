"""Normalizations with stored or computed statistics."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from packlight.model import from_start
from packlight.torch.operators.windows import pad_spatial
from packlight.torch.values import Function, Operator, Tensor

EPSILON = 1e-5
PER_CHANNEL_FROM = 21
"""Opset from which GroupNormalization scales channels; before, groups."""


def _channels(vector: Tensor, rank: int) -> Tensor:
    return vector.reshape(-1, *(1,) * (rank - 2))


def _batch_normalization(
    op: Operator, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    """Normalize with stored statistics, in the type of the input."""
    spread = torch.sqrt(variance + op.number("epsilon", EPSILON))
    factor = scale / spread
    offset = bias - mean * factor
    rank = max(x.ndim, 2)
    return (x * _channels(factor, rank) + _channels(offset, rank)).to(x.dtype)


def _standardized(x: Tensor, axes: list[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Standardized values, mean, and reciprocal of the deviation."""
    mean = torch.mean(x, axes, keepdim=True)
    centered = x - mean
    variance = torch.mean(centered * centered, axes, keepdim=True)
    inverse = torch.rsqrt(variance + epsilon)
    return centered * inverse, mean, inverse


def _layer_normalization(
    op: Operator, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, ...]:
    axis = from_start(op.integer("axis", -1), x.ndim)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    axes = list(range(axis, x.ndim))
    standard, mean, inverse = _standardized(wide, axes, op.number("epsilon", EPSILON))
    result = standard.to(x.dtype) * scale
    if bias is not None:
        result = result + bias
    return (result, mean, inverse)[: op.output_count]


def _instance_normalization(op: Operator, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    axes = list(range(2, x.ndim))
    standard, _, _ = _standardized(x, axes, op.number("epsilon", EPSILON))
    return standard * _channels(scale, x.ndim) + _channels(bias, x.ndim)


def _group_normalization(op: Operator, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = op.integer("num_groups", 1)
    grouped = x.reshape(x.shape[0], groups, -1)
    standard, _, _ = _standardized(grouped, [2], op.number("epsilon", EPSILON))
    if op.opset < PER_CHANNEL_FROM:
        scaled = standard * scale.reshape(-1, 1) + bias.reshape(-1, 1)
        return scaled.reshape(x.shape)
    return standard.reshape(x.shape) * _channels(scale, x.ndim) + _channels(bias, x.ndim)


def _rms_normalization(op: Operator, x: Tensor, scale: Tensor) -> Tensor:
    axis = from_start(op.integer("axis", -1), x.ndim)
    axes = list(range(axis, x.ndim))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    square = torch.mean(wide * wide, axes, keepdim=True)
    normal = wide * torch.rsqrt(square + op.number("epsilon", EPSILON))
    return normal.to(x.dtype) * scale


def _local_response(op: Operator, x: Tensor) -> Tensor:
    size = op.integer("size", 1)
    squares = (x * x).movedim(1, -1)
    padded = pad_spatial(squares, [(size - 1) // 2], [size // 2])
    sums = padded.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    scaled = op.number("bias", 1.0) + op.number("alpha", 1e-4) / size * sums
    return x / scaled ** op.number("beta", 0.75)


def _lp_normalization(op: Operator, x: Tensor) -> Tensor:
    axis = op.integer("axis", -1)
    norm = torch.linalg.vector_norm(x, op.integer("p", 2), axis, keepdim=True)
    zeros = torch.zeros_like(x)
    return torch.where(norm == 0, zeros, x / torch.where(norm == 0, torch.ones_like(norm), norm))


def _mean_variance(op: Operator, x: Tensor) -> Tensor:
    axes = op.integers("axes", (0, 2, 3))
    centered = x - torch.mean(x, axes, keepdim=True)
    spread = torch.sqrt(torch.mean(centered * centered, axes, keepdim=True))
    return centered / (spread + 1e-9)


def _skip_layer_normalization(
    op: Operator,
    x: Tensor,
    skip: Tensor,
    scale: Tensor,
    shift: Tensor | None = None,
    bias: Tensor | None = None,
) -> tuple[Tensor, ...]:
    total = x + skip
    if bias is not None:
        total = total + bias
    standard, mean, inverse = _standardized(total, [-1], op.number("epsilon", 1e-12))
    result = standard * scale
    if shift is not None:
        result = result + shift
    return (result, mean, inverse, total)[: op.output_count]


NORMALIZATION: Mapping[str, Function] = {
    "BatchNormalization": _batch_normalization,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LRN": _local_response,
    "LayerNormalization": _layer_normalization,
    "LpNormalization": _lp_normalization,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_normalization,
    "SimplifiedLayerNormalization": _rms_normalization,
}

MICROSOFT_NORMALIZATION: Mapping[str, Function] = {
    "SkipLayerNormalization": _skip_layer_normalization,
}
