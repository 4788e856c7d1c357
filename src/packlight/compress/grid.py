"""Uniform grids: which weights share a scale, and the nearest point of a grid.

Three questions stay apart: grouping (who shares a scale), range (how wide the grid is), and
rounding (which point a weight goes to).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A weight seen as an array in which every group is a product of whole axes.

    Attributes:
        shape: of the weight, axes that blocks run along made one.
        padded: shape after zeros are added so that blocks divide it; equals ``shape`` else.
        view: the padded weight reshaped.
        scale: shape of the scales, 1 along the axes of ``view`` that share one.
    """

    shape: tuple[int, ...]
    padded: tuple[int, ...]
    view: tuple[int, ...]
    scale: tuple[int, ...]

    def groups(self) -> int:
        """How many scales there are."""
        return math.prod(self.scale)

    def split(self, weight: Float) -> Float:
        """The weight in the form of ``view``, padded with zeros."""
        weight = weight.reshape(self.shape)
        if self.padded != self.shape:
            gaps = [(0, after - now) for now, after in zip(self.shape, self.padded, strict=True)]
            weight = np.pad(weight, gaps)
        return weight.reshape(self.view)

    def join(self, viewed: NDArray[np.generic]) -> NDArray[np.generic]:
        """The weight from the form of ``view``, padding left off."""
        whole = viewed.reshape(self.padded)
        return whole[tuple(slice(0, size) for size in self.shape)]


def per_tensor(shape: tuple[int, ...]) -> Grouping:
    """One scale for all."""
    return Grouping(shape, shape, shape, (1,) * len(shape))


def per_channel(shape: tuple[int, ...], summed: tuple[int, ...]) -> Grouping:
    """One scale for each output: for each index along the axes that are not summed over."""
    scale = tuple(1 if axis in summed else size for axis, size in enumerate(shape))
    return Grouping(shape, shape, shape, scale)


def blocks(shape: tuple[int, ...], summed: tuple[int, ...], size: int) -> Grouping:
    """One scale for each output and each run of ``size`` inputs; the last run may be shorter.

    Args:
        shape: of the weight.
        summed: consecutive axes.
        size: inputs in a block, at least 1.
    """
    first, last = summed[0], summed[-1] + 1
    assert summed == tuple(range(first, last)), "blocks run along consecutive axes"
    length = math.prod(shape[first:last])
    count = -(-length // size)
    flat = (*shape[:first], length, *shape[last:])
    padded = (*shape[:first], count * size, *shape[last:])
    view = (*shape[:first], count, size, *shape[last:])
    scale = (*shape[:first], count, 1, *shape[last:])
    if length == count * size:
        return Grouping(shape, shape, view, scale)
    return Grouping(flat, padded, view, scale)


def top_code(bits: int) -> int:
    """Largest integer of a symmetric signed grid; the lowest is its negative.

    >>> top_code(8), top_code(4)
    (127, 7)
    """
    return (1 << (bits - 1)) - 1


def widest_scale(weight: Float, grouping: Grouping, bits: int) -> Float:
    """The scale whose grid just reaches the largest weight of every group.

    Args:
        weight: of shape ``grouping.shape``.
        grouping: who shares a scale.
        bits: width of a code, 2 to 8.

    Returns:
        Of shape ``grouping.scale``, each > 0; the real value of one integer step.
    """
    viewed = grouping.split(weight)
    axes = tuple(axis for axis, size in enumerate(grouping.scale) if size == 1)
    widest = np.abs(viewed).max(axis=axes, keepdims=True, initial=0.0)
    scale: Float = (widest / np.float32(top_code(bits))).astype(np.float32)
    scale[scale == 0] = 1  # an all-zero group, or one whose step underflows float32
    return scale


def nearest(weight: Float, scale: Float, grouping: Grouping, bits: int) -> Codes:
    """The nearest point of a symmetric grid.

    Args:
        weight: of shape ``grouping.shape``.
        scale: of shape ``grouping.scale``, each > 0.
        grouping: who shares a scale.
        bits: width of a code.

    Returns:
        Of shape ``grouping.view``, each in [-top, top]. Every weight within the range of its grid
        satisfies ``|weight - code * scale| <= scale / 2``.
    """
    top = top_code(bits)
    points = np.clip(np.rint(grouping.split(weight) / scale), -top, top)
    codes: Codes = points.astype(np.int8)
    return codes
