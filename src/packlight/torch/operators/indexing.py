"""Operators that read or write at positions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from packlight.torch.values import RARE_INTEGERS, Function, Operator, Tensor, Value, numbers

REDUCES = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
"""Reductions of scattered values, as PyTorch calls them."""


def _positions(indices: Tensor, size: int) -> Tensor:
    """Positions counted from the start."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def _gather(op: Operator, x: Tensor, indices: Tensor) -> Tensor:
    axis = op.integer("axis", 0) % x.ndim
    positions = _positions(indices, x.shape[axis])
    if x.dtype in RARE_INTEGERS:
        return _gather(op, x.to(torch.int64), indices).to(x.dtype)
    picked = x.index_select(axis, positions.reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _gather_elements(op: Operator, x: Tensor, indices: Tensor) -> Tensor:
    axis = op.integer("axis", 0)
    return torch.gather(x, axis, _positions(indices, x.shape[axis]))


def _gather_nd(op: Operator, x: Tensor, indices: Tensor) -> Tensor:
    batch = op.integer("batch_dims", 0)
    outer = x.shape[:batch]
    depth = indices.shape[-1]
    flat = x.reshape(math.prod(outer), *x.shape[batch:])
    rows = indices.reshape(math.prod(outer), -1, depth)
    coordinates = [_positions(rows[..., axis], flat.shape[1 + axis]) for axis in range(depth)]
    batches = torch.arange(flat.shape[0], device=x.device).unsqueeze(1).expand(rows.shape[:2])
    picked = flat[(batches, *coordinates)]
    return picked.reshape(*outer, *indices.shape[batch:-1], *x.shape[batch + depth :])


def _scatter_elements(op: Operator, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = op.integer("axis", 0)
    positions = _positions(indices, x.shape[axis])
    reduction = op.text("reduction", "none")
    if reduction == "none":
        return x.scatter(axis, positions, updates)
    return x.scatter_reduce(axis, positions, updates, REDUCES[reduction])


def _scatter_nd(op: Operator, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    depth = indices.shape[-1]
    inner = math.prod(x.shape[depth:])
    flat_position = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=x.device)
    for axis in range(depth):
        coordinates = _positions(indices[..., axis], x.shape[axis])
        flat_position = flat_position * x.shape[axis] + coordinates
    rows = x.reshape(-1, inner)
    target = flat_position.reshape(-1, 1).expand(-1, inner)
    values = updates.reshape(-1, inner)
    reduction = op.text("reduction", "none")
    if reduction == "none":
        return rows.scatter(0, target, values).reshape(x.shape)
    return rows.scatter_reduce(0, target, values, REDUCES[reduction]).reshape(x.shape)


def _one_hot(op: Operator, indices: Tensor, depth: Value, values: Tensor) -> Tensor:
    size = int(numbers(depth)[0])
    positions = indices.to(torch.int64)
    inside = (positions >= -size) & (positions < size)
    positions = torch.where(positions < 0, positions + size, positions)
    axis = op.integer("axis", -1)
    axis = axis % (indices.ndim + 1)
    hot = positions.unsqueeze(-1) == torch.arange(size, device=indices.device)
    hot = (hot & inside.unsqueeze(-1)).movedim(-1, axis)
    return torch.where(hot, values[1], values[0])


def _non_zero(_op: Operator, x: Tensor) -> Tensor:
    if x.ndim == 0:
        x = x.reshape(1)
    return torch.nonzero(x).t().contiguous()


def _compress(op: Operator, x: Tensor, condition: Tensor) -> Tensor:
    if "axis" not in op.attributes:
        x = x.reshape(-1)
    axis = op.integer("axis", 0)
    positions = torch.nonzero(condition.reshape(-1)).reshape(-1)
    return x.index_select(axis, positions)


def _array_feature(_op: Operator, x: Tensor, indices: Tensor) -> Tensor:
    picked = x[..., indices.reshape(-1)]
    if x.ndim == 1:
        return picked.reshape(1, -1)
    return picked


def _unique(op: Operator, x: Tensor) -> tuple[Tensor, ...]:
    """Distinct values with their first positions, sorted or in the order they come."""
    if "axis" not in op.attributes:
        x = x.reshape(-1)
    dim = op.integer("axis", 0)
    values, inverse, counts = torch.unique(
        x, sorted=True, return_inverse=True, return_counts=True, dim=dim
    )
    places = torch.arange(inverse.numel(), device=x.device)
    first = torch.full((counts.numel(),), inverse.numel(), device=x.device)
    first = first.scatter_reduce(0, inverse.reshape(-1), places, "amin")
    if not op.flag("sorted", default=True):
        order = torch.argsort(first)
        values = values.index_select(dim, order)
        first = first[order]
        counts = counts[order]
        inverse = torch.argsort(order)[inverse]
    return values, first, inverse, counts


INDEXING: Mapping[str, Function] = {
    "Compress": _compress,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Unique": _unique,
}

LEARNED_INDEXING: Mapping[str, Function] = {"ArrayFeatureExtractor": _array_feature}
