"""Sizes, positions and widths that operators which move numbers state in several ways."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packlight.exporting.operator_view import OperatorView

PADDING_INPUT_OPSET = 11
SLICE_INPUT_OPSET = 10
FAR = 1 << 62


def reshape_sizes(op: OperatorView[Any], shape: Sequence[int]) -> list[int]:
    """Sizes that a Reshape gives."""
    sizes = op.integers("shape") or op.stored_integers(1)
    if not op.integer("allowzero"):
        sizes = [shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if -1 in sizes:
        known = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(shape) // max(known, 1)
    return sizes


def split_sizes(op: OperatorView[Any], size: int) -> list[int]:
    """Sizes of the parts of a Split."""
    if op.optional(1) is not None:
        return op.stored_integers(1)
    sizes = op.integers("split")
    if sizes:
        return sizes
    count = op.integer("num_outputs", len(op.node.outputs))
    chunk = -(-size // count)
    return [min(chunk, size - start * chunk) for start in range(count)]


def slice_ranges(op: OperatorView[Any], shape: Sequence[int]) -> list[range]:
    """Positions that are taken along each axis."""
    if op.opset < SLICE_INPUT_OPSET:
        starts = op.integers("starts")
        ends = op.integers("ends")
        axes = op.integers("axes") or list(range(len(starts)))
        steps = [1] * len(starts)
    else:
        starts = op.stored_integers(1)
        ends = op.stored_integers(2)
        axes = op.stored_integers(3, range(len(starts)))
        steps = op.stored_integers(4, [1] * len(starts))
    ranges = [range(size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis]
        ranges[axis] = range(size)[slice(_bound(start), _bound(end), step)]
        if step < 0 and end <= -FAR:
            ranges[axis] = range(size)[slice(_bound(start), None, step)]
    return ranges


def _bound(position: int) -> int:
    return max(min(position, FAR), -FAR)


def pad_widths(op: OperatorView[Any], rank: int) -> tuple[list[tuple[int, int]], float]:
    """Numbers before and after along each axis, and what they are filled with."""
    if op.opset < PADDING_INPUT_OPSET:
        flat = op.integers("pads")
        axes = list(range(rank))
    else:
        flat = op.stored_integers(1)
        axes = op.stored_integers(3, range(rank))
    fill = op.number("value", 0.0)
    filling = op.optional(2)
    if filling is not None:
        fill = float(filling.numbers().reshape(-1)[0])
    half = len(flat) // 2
    widths = [(0, 0)] * rank
    for index, axis in enumerate(axes):
        widths[axis] = (flat[index], flat[half + index])
    return widths, fill


def triangle(op: OperatorView[Any], shape: Sequence[int]) -> NDArray[np.float64]:
    """Ones where a Trilu keeps numbers, else zeros, over the last two axes (rows, columns)."""
    offset = op.stored_integers(1, [0])[0]
    ones = np.ones(shape[-2:])
    if op.integer("upper", 1):
        return np.triu(ones, offset)
    return np.tril(ones, offset)
