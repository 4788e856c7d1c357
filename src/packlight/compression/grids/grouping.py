"""Granularity of uniform grids: weights that share a scale, and the widest range of each group."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A weight seen as an array in which every group is a product of whole axes.

    Attributes:
        shape: of the weight, with one axis for all axes that blocks run along.
        padded: shape after padding with zeros to full blocks.
        view: the padded weight reshaped.
        scale: shape of the scales, 1 along the axes of ``view`` that share one.
        block: inputs that share a scale; 0 where all inputs of an output do.
    """

    shape: tuple[int, ...]
    padded: tuple[int, ...]
    view: tuple[int, ...]
    scale: tuple[int, ...]
    block: int = 0

    def groups(self) -> int:
        """Number of scales."""
        return math.prod(self.scale)

    def split(self, weight: Float) -> Float:
        """The weight in the form of ``view``, padded with zeros."""
        weight = weight.reshape(self.shape)
        if self.padded != self.shape:
            gaps = [(0, after - now) for now, after in zip(self.shape, self.padded, strict=True)]
            weight = np.pad(weight, gaps)
        return weight.reshape(self.view)

    def rows(self, weight: Float) -> Float:
        """The weights of each group, (groups, n), groups in the order of ``scale``."""
        viewed = self.split(weight)
        order = sorted(range(viewed.ndim), key=lambda axis: self.scale[axis] == 1)
        return np.ascontiguousarray(viewed.transpose(order).reshape(self.groups(), -1))

    def join(self, viewed: NDArray[np.generic]) -> NDArray[np.generic]:
        """The weight from the form of ``view``, without padding."""
        return viewed.reshape(self.padded)[tuple(slice(0, size) for size in self.shape)]


def per_tensor(shape: tuple[int, ...]) -> Grouping:
    """One scale for all."""
    return Grouping(shape, shape, shape, (1,) * len(shape))


def shape_of_outputs(shape: tuple[int, ...], summed: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one number for each output: 1 along the axes that outputs sum over."""
    return tuple(1 if axis in summed else size for axis, size in enumerate(shape))


def per_channel(shape: tuple[int, ...], summed: tuple[int, ...]) -> Grouping:
    """One scale for each output: for each index along the axes that are not summed over."""
    return Grouping(shape, shape, shape, shape_of_outputs(shape, summed))


def per_block(shape: tuple[int, ...], summed: tuple[int, ...], size: int) -> Grouping:
    """One scale for each output and each run of ``size`` inputs; the last run may be shorter.

    Args:
        shape: of the weight.
        summed: consecutive axes.
        size: inputs in a block, at least 1; at most all inputs are used.
    """
    first = summed[0]
    last = summed[-1] + 1
    assert summed == tuple(range(first, last)), "blocks run along consecutive axes"
    length = math.prod(shape[first:last])
    size = max(1, min(size, length))
    count = -(-length // size)
    flat = (*shape[:first], length, *shape[last:])
    padded = (*shape[:first], count * size, *shape[last:])
    view = (*shape[:first], count, size, *shape[last:])
    scale = (*shape[:first], count, 1, *shape[last:])
    if length == count * size:
        return Grouping(shape, shape, view, scale, size)
    return Grouping(flat, padded, view, scale, size)


def top_code(bits: int) -> int:
    """Largest integer of a symmetric signed grid; the lowest is its negative.

    >>> top_code(8), top_code(4)
    (127, 7)
    """
    return (1 << (bits - 1)) - 1


def minmax_scale(weight: Float, grouping: Grouping, bits: int) -> tuple[Float, Float]:
    """The scale whose symmetric grid just reaches the largest weight of every group.

    Args:
        weight: of shape ``grouping.shape``.
        grouping: who shares a scale.
        bits: width of a code, 2 to 8.

    Returns:
        Scale and zero, both of shape ``grouping.scale``: the real value of one integer step, > 0;
        and the code of 0.0, which is 0.
    """
    low, high = _extremes(weight, grouping)
    scale: Float = np.maximum(high, -low).astype(np.float32) / np.float32(top_code(bits))
    scale[scale == 0] = scale.max() or 1  # an all-zero group, or one whose step underflows float32
    return scale, np.zeros_like(scale)


def minmax_range(weight: Float, grouping: Grouping, bits: int) -> tuple[Float, Float]:
    """The scale and zero whose unsigned grid just reaches from the smallest to the largest.

    0.0 is a point of the grid. Arguments and results are those of ``widest_scale``, the zero is a
    whole number from 0 to the highest code.
    """
    low, high = _extremes(weight, grouping)
    top = np.float32((1 << bits) - 1)
    scale: Float = (high - low) / top
    scale[scale == 0] = scale.max() or 1
    return scale, np.clip(np.rint(-low / scale), 0, top).astype(np.float32)


def _extremes(weight: Float, grouping: Grouping) -> tuple[Float, Float]:
    """The smallest and the largest of every group and 0, of shape ``grouping.scale``."""
    viewed = grouping.split(weight)
    axes = tuple(axis for axis, size in enumerate(grouping.scale) if size == 1)
    low = viewed.min(axis=axes, keepdims=True, initial=0.0)
    return low, viewed.max(axis=axes, keepdims=True, initial=0.0)
