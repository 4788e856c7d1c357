"""One block of memory for all activations, and the offset of each one in it.

Largest first, each goes into a gap that fits among those that live at the same time and are placed,
else behind them. Planners differ in the gap. The method takes the smallest one, as LiteRT does
(``simple_memory_arena.cc``), and leaves open in which order equal sizes come; both orders of time
are tried here, and the smaller block is used. LiteRT for Microcontrollers takes the first one
(``greedy_memory_planner.cc``), which can need more: what is exported for it is planned with
``first_gap``.
Source: Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference",
section 5.2, greedy by size for offset calculation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.profiling.liveness import Buffer, Sizes, alive_bytes, buffers

Bytes = NDArray[np.int64]
"""Starts or ends of buffers that are placed and live at the same time (n,)."""

ChooseGap = Callable[[Bytes, Bytes, int], int]
"""From starts and ends of placed buffers, and bytes to place, the start of these."""

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
    earlier_first = sorted(range(len(storage)), key=lambda i: (-storage[i].size, storage[i].first))
    first = placed(storage, earlier_first, smallest_gap)
    steps = max((buffer.last for buffer in storage), default=-1) + 1
    if block_size(storage, first) == max(alive_bytes(storage, steps), default=0):
        return first  # no block is smaller than what it must hold at once
    later_first = sorted(range(len(storage)), key=lambda i: (-storage[i].size, -storage[i].first))
    second = placed(storage, later_first, smallest_gap)
    return min(first, second, key=lambda starts: block_size(storage, starts))


def placed(storage: Sequence[Buffer], order: Sequence[int], choose: ChooseGap) -> list[int]:
    """Start of each buffer, in bytes; those that live at the same time do not overlap.

    Args:
        storage: the buffers.
        order: their indices, in the order in which they are placed.
        choose: the start of a buffer among those that are placed.
    """
    total = sum(buffer.size for buffer in storage)
    kind = np.dtype(np.int64 if total < LARGEST else object)  # a model may state any sizes
    first, last, size, start = (np.zeros(len(storage), kind) for _ in range(4))
    starts = [0] * len(storage)
    for done, index in enumerate(order):
        buffer = storage[index]
        overlapping = (first[:done] <= buffer.last) & (last[:done] >= buffer.first)
        begin = start[:done][overlapping]
        starts[index] = choose(begin, begin + size[:done][overlapping], buffer.size)
        first[done] = buffer.first
        last[done] = buffer.last
        size[done] = buffer.size
        start[done] = starts[index]
    return starts


def smallest_gap(begin: Bytes, end: Bytes, size: int) -> int:
    """Start of the smallest gap with room for ``size``, the lowest of several."""
    rooms = {start: room for start, room in _gaps(begin, end) if room >= size}
    return min(rooms, key=rooms.__getitem__)


def first_gap(begin: Bytes, end: Bytes, size: int) -> int:
    """Start of the lowest gap with room for ``size``."""
    return next(start for start, room in _gaps(begin, end) if room >= size)


def _gaps(begin: Bytes, end: Bytes) -> Iterator[tuple[int, float]]:
    """Start and bytes of each gap from the lowest; that behind all buffers has no end."""
    free = 0
    for index in np.argsort(begin, kind="stable"):
        yield free, int(begin[index]) - free
        free = max(free, int(end[index]))
    yield free, math.inf
