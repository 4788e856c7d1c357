"""Pools over one, two and three axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from packlight.torch.operators.windows import Window, output_sizes, pad_spatial, window_of
from packlight.torch.values import Function, Operator, Tensor, Value, integers, is_float

MAX_BY_RANK = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_BY_RANK = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
SUM_BY_RANK = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _pool_window(op: Operator, x: Tensor) -> tuple[Window, list[int]]:
    """The window of a pool, and how far windows reach beyond its padding at the end."""
    spatial = list(x.shape[2:])
    window = window_of(op, spatial, op.integers("kernel_shape"))
    sizes = output_sizes(window, spatial, ceil=op.flag("ceil_mode"))
    beyond = []
    for axis, count in enumerate(sizes):
        end = (count - 1) * window.strides[axis] + window.reach[axis]
        padded = spatial[axis] + window.before[axis] + window.after[axis]
        beyond.append(max(end - padded, 0))
    return window, beyond


def _max_pool(op: Operator, x: Tensor) -> Value:
    if not is_float(x):
        pooled = _max_pool(op, x.to(torch.float64))
        if isinstance(pooled, tuple):
            return pooled[0].to(x.dtype), pooled[1]
        return pooled.to(x.dtype)
    window, beyond = _pool_window(op, x)
    compute = MAX_BY_RANK[x.ndim - 2]
    halves = zip(window.before, window.kernel, strict=True)
    native = window.is_symmetric and not any(beyond) and all(2 * pad <= k for pad, k in halves)
    if native and op.output_count == 1:
        return compute(x, window.kernel, window.strides, window.before, window.dilations)
    after = [pad + more for pad, more in zip(window.after, beyond, strict=True)]
    padded = pad_spatial(x, window.before, after, -math.inf)
    if op.output_count == 1:
        return compute(padded, window.kernel, window.strides, 0, window.dilations)
    values, positions = compute(
        padded, window.kernel, window.strides, 0, window.dilations, return_indices=True
    )
    columns = op.flag("storage_order")
    return values, _flat_positions(positions, x, padded, window.before, columns=columns)


def _flat_positions(
    positions: Tensor, x: Tensor, padded: Tensor, before: Sequence[int], *, columns: bool
) -> Tensor:
    """Positions in the whole flattened input, of positions in a padded plane."""
    coordinates: list[Tensor] = []
    for size, pad in zip(reversed(padded.shape[2:]), reversed(before), strict=True):
        coordinates.insert(0, positions % size - pad)
        positions = positions // size
    flat = torch.zeros_like(positions)
    axes = list(range(len(coordinates)))
    if columns:
        axes.reverse()
    for axis in axes:
        flat = flat * x.shape[2 + axis] + coordinates[axis]
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device)
    offsets = planes.reshape(x.shape[0], x.shape[1], *(1,) * len(coordinates))
    return flat + offsets * math.prod(x.shape[2:])


def _sum_pool(padded: Tensor, window: Window) -> Tensor:
    """Sum over every window of an input that is already padded."""
    rank = padded.ndim - 2
    planes = padded.reshape(-1, 1, *padded.shape[2:])
    ones = torch.ones(1, 1, *window.kernel, dtype=padded.dtype, device=padded.device)
    sums = SUM_BY_RANK[rank](planes, ones, None, window.strides, 0, window.dilations)
    return sums.reshape(*padded.shape[:2], *sums.shape[2:])


def _average_pool(op: Operator, x: Tensor) -> Tensor:
    window, beyond = _pool_window(op, x)
    count_padding = op.flag("count_include_pad")
    halves = zip(window.before, window.kernel, strict=True)
    native = window.is_symmetric and not any(beyond) and all(2 * pad <= k for pad, k in halves)
    if native and max(window.dilations) == 1:
        result: Tensor = AVERAGE_BY_RANK[x.ndim - 2](
            x, window.kernel, window.strides, window.before, False, count_padding
        )
        return result
    after = [pad + more for pad, more in zip(window.after, beyond, strict=True)]
    sums = _sum_pool(pad_spatial(x, window.before, after), window)
    counted = torch.ones_like(x[:1, :1])
    if count_padding:
        counted = pad_spatial(counted, window.before, window.after, 1)
        counted = pad_spatial(counted, (0,) * len(beyond), beyond)
    else:
        counted = pad_spatial(counted, window.before, after)
    return sums / _sum_pool(counted, window)


def _lp_pool(op: Operator, x: Tensor) -> Tensor:
    power = op.integer("p", 2)
    window, beyond = _pool_window(op, x)
    after = [pad + more for pad, more in zip(window.after, beyond, strict=True)]
    padded = pad_spatial(torch.abs(x) ** power, window.before, after)
    return _sum_pool(padded, window) ** (1 / power)


def _global_average(_op: Operator, x: Tensor) -> Tensor:
    return torch.mean(x, list(range(2, x.ndim)), keepdim=True)


def _global_max(_op: Operator, x: Tensor) -> Tensor:
    return torch.amax(x, list(range(2, x.ndim)), keepdim=True)


def _global_lp(op: Operator, x: Tensor) -> Tensor:
    axes = list(range(2, x.ndim))
    norm: Tensor = torch.linalg.vector_norm(x, op.integer("p", 2), axes, keepdim=True)
    return norm


def _max_unpool(op: Operator, x: Tensor, positions: Tensor, shape: Value = None) -> Tensor:
    window = window_of(op, x.shape[2:], op.integers("kernel_shape"))
    sizes = [
        (size - 1) * window.strides[axis] - window.before[axis] - window.after[axis]
        + window.kernel[axis]
        for axis, size in enumerate(x.shape[2:])
    ]  # fmt: skip
    source = [x.shape[0], x.shape[1], *sizes]
    target = integers(shape, source)
    flat = torch.zeros(math.prod(source), dtype=x.dtype, device=x.device)
    result = flat.scatter(0, positions.reshape(-1), x.reshape(-1)).reshape(source)
    after = [size - old for size, old in zip(target[2:], sizes, strict=True)]
    return pad_spatial(result, [0] * len(sizes), after)


POOLING: Mapping[str, Function] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global_max,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
}
