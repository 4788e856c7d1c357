"""One block of memory for all activations, and the offset of each one in it.

Largest first, each goes into the smallest gap that fits among those that live at the same time and
are placed, else behind them. TensorFlow Lite Micro plans its arena by this method. It leaves open
in which order equal sizes come; both orders of time are tried here, and the smaller block is used.
Source: Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference",
section 5.2, greedy by size for offset calculation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.profiling.liveness import Buffer, Sizes, alive_bytes, buffers

LARGEST = 2**62
"""Bytes up to which 64 bits hold every sum of two offsets."""


def arena_bytes(graph: ir.Graph, sizes: Sizes) -> int:
    """Bytes of the block that a graph needs; bodies have their own blocks within it."""
    storage = buffers(graph, sizes, arena_bytes)
    return block_size(storage, offsets(storage))


def block_size(storage: Sequence[Buffer], starts: Sequence[int]) -> int:
    """End of the last buffer."""
    ends = (start + buffer.size for start, buffer in zip(starts, storage, strict=True))
    return max(ends, default=0)


def offsets(storage: Sequence[Buffer]) -> list[int]:
    """Start of each buffer; buffers that live at the same time do not overlap."""
    first = _greedy_offsets(storage, forward=True)
    steps = max((buffer.last for buffer in storage), default=-1) + 1
    if block_size(storage, first) == max(alive_bytes(storage, steps), default=0):
        return first  # no block is smaller than what it must hold at once
    second = _greedy_offsets(storage, forward=False)
    return min(first, second, key=lambda starts: block_size(storage, starts))


def _greedy_offsets(storage: Sequence[Buffer], *, forward: bool) -> list[int]:
    """Start of each buffer, where of equal sizes the earlier come first, or the later."""
    sign = 1 if forward else -1
    order = sorted(range(len(storage)), key=lambda i: (-storage[i].size, sign * storage[i].first))
    total = sum(buffer.size for buffer in storage)
    kind = np.dtype(np.int64 if total < LARGEST else object)  # a model may state any sizes
    first, last, size, start = (np.zeros(len(storage), kind) for _ in range(4))
    starts = [0] * len(storage)
    for done, index in enumerate(order):
        buffer = storage[index]
        overlapping = (first[:done] <= buffer.last) & (last[:done] >= buffer.first)
        begin = start[:done][overlapping]
        starts[index] = _smallest_gap(begin, begin + size[:done][overlapping], buffer.size)
        first[done] = buffer.first
        last[done] = buffer.last
        size[done] = buffer.size
        start[done] = starts[index]
    return starts


def _smallest_gap(begin: NDArray[np.int64], end: NDArray[np.int64], size: int) -> int:
    """Start of the smallest gap with room for ``size``; the end of all buffers where none has.

    Args:
        begin: of placed buffers (n,).
        end: of placed buffers (n,).
        size: bytes to place.
    """
    best = -1
    room = 0
    free = 0
    for index in np.argsort(begin, kind="stable"):
        gap = int(begin[index]) - free
        if gap >= size and (best < 0 or gap < room):
            best = free
            room = gap
        free = max(free, int(end[index]))
    return free if best < 0 else best
