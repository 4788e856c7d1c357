"""Blocks of a weight that share a scale, for formats in which they must divide it."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from packlight.exporting.weights import GridWeight, Shared


def whole_blocks(grid: GridWeight, shortest: int) -> GridWeight | None:
    """The same weight in blocks that divide its axes, by writing scales more than once.

    Args:
        grid: whose last blocks may be shorter.
        shortest: length of a block, at least.

    Returns:
        The weight as it is where its blocks divide it; None where only shorter blocks would.
    """
    for axis, (size, block) in enumerate(zip(grid.shape, grid.scale.block, strict=True)):
        if size <= block or size % block == 0:
            continue
        divisor = math.gcd(size, block)
        if divisor < shortest:
            return None
        grid = grid.with_shared(grid.codes, partial(_finer, axis=axis, block=divisor, size=size))
    return grid


def _finer(shared: Shared, *, axis: int, block: int, size: int) -> Shared:
    values = np.repeat(shared.values, shared.block[axis] // block, axis=axis)
    values = np.take(values, range(size // block), axis=axis)
    blocks = list(shared.block)
    blocks[axis] = block
    return Shared(values, tuple(blocks))
