"""One block of memory for all activations: where in it each one lies.

Largest first, each into the smallest gap that fits among those that live at the same time and have
a place, else behind them. TensorFlow Lite Micro plans its arena by this method. It leaves open in
which order equals come; both orders of time are tried here, and the smaller block is taken.
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
"""Bytes up to which 64 bits hold every sum of two places."""


def arena_bytes(graph: ir.Graph, sizes: Sizes) -> int:
    """Bytes of the block that a graph needs; bodies have blocks of their own within it."""
    found = buffers(graph, sizes, arena_bytes)
    return block_size(found, offsets(found))


def block_size(found: Sequence[Buffer], starts: Sequence[int]) -> int:
    """Where the last byte of all buffers ends."""
    return max((at + one.size for at, one in zip(starts, found, strict=True)), default=0)


def offsets(found: Sequence[Buffer]) -> list[int]:
    """Where each buffer starts; no two that live at the same time overlap."""
    first, steps = placed(found, forward=True), max((one.last for one in found), default=-1) + 1
    if block_size(found, first) == max(alive_bytes(found, steps), default=0):
        return first  # no block is smaller than what it must hold at once
    return min(first, placed(found, forward=False), key=lambda starts: block_size(found, starts))


def placed(found: Sequence[Buffer], *, forward: bool) -> list[int]:
    """Where each buffer starts, if of equals the earlier come first, or the later."""
    sign = 1 if forward else -1
    order = sorted(range(len(found)), key=lambda at: (-found[at].size, sign * found[at].first))
    whole = sum(one.size for one in found)
    kind = np.dtype(np.int64 if whole < LARGEST else object)  # a model may state any sizes
    first, last, size, start = (np.zeros(len(found), kind) for _ in range(4))
    starts = [0] * len(found)
    for done, index in enumerate(order):
        one = found[index]
        beside = (first[:done] <= one.last) & (last[:done] >= one.first)
        begin = start[:done][beside]
        starts[index] = smallest_gap(begin, begin + size[:done][beside], one.size)
        first[done], last[done] = one.first, one.last
        size[done], start[done] = one.size, starts[index]
    return starts


def smallest_gap(begin: NDArray[np.int64], end: NDArray[np.int64], size: int) -> int:
    """Where the smallest gap that has room for ``size`` starts; behind all where none has.

    Args:
        begin: of what has a place (n,).
        end: of the same (n,).
        size: bytes to place.
    """
    best, room, free = -1, 0, 0
    for place in np.argsort(begin, kind="stable"):
        gap = int(begin[place]) - free
        if gap >= size and (best < 0 or gap < room):
            best, room = free, gap
        free = max(free, int(end[place]))
    return free if best < 0 else best
