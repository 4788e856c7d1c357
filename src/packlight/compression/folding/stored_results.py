"""Choice of the constants to store such that a file is smallest.

A constant result can be stored, or its operator stays and what it reads must be there: stored or
computed in turn. The best choice is a minimum cut of the graph of constants between what the
remaining operators read and what was stored at first. Source: Boykov and Kolmogorov (PAMI 2004),
section 1, for costs that depend on two choices; ``scipy.sparse.csgraph.maximum_flow``.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from packlight.compression.minimum_cut import source_side

READ = 0
FREE = 1
"""Ends of the flow: what must be there, and what costs nothing more."""

UNCUT = 2**30
"""Capacity of edges that must never be cut."""

TOTAL_UNITS = 2**28
"""Sum of all costs in units, so that flows fit 32 bits."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant that the file may hold.

    Attributes:
        stored: bytes that it takes if it is stored.
        operators: bytes of the operators that compute it, one for each place where it is computed
            alike; None where nothing computes it.
        reads: what these operators read.
    """

    stored: int
    operators: int | None = None
    reads: frozenset[Hashable] = frozenset()


def computed_constants(
    constants: Mapping[Hashable, Constant], read: Collection[Hashable]
) -> frozenset[Hashable]:
    """Choose the constants whose operators stay, because the file is smaller with them.

    Args:
        constants: by key, with all that they read.
        read: those that remaining operators need.

    Returns:
        Keys; of choices that cost the same, one with as few of them as possible.
    """
    needed = {key: 2 * index + 2 for index, key in enumerate(constants)}
    flow = list(_edges(constants, read, needed))
    total = sum(cost for _, _, cost in flow if cost is not None)
    unit = max(1, -(-total // TOTAL_UNITS))
    units = [UNCUT if cost is None else -(-cost // unit) for _, _, cost in flow]
    starts, ends, _ = zip(*flow, strict=True)
    size = 2 * len(constants) + 2
    capacities = np.array(units, np.int32)
    reached = source_side(np.array(starts), np.array(ends), capacities, size, (READ, FREE))
    return frozenset(key for key, vertex in needed.items() if vertex + 1 in reached)


def _edges(
    constants: Mapping[Hashable, Constant],
    read: Collection[Hashable],
    needed: Mapping[Hashable, int],
) -> Iterable[tuple[int, int, int | None]]:
    """Edges with their bytes; None where they must not be cut.

    Every constant has two vertices: it is needed, and its operators stay.
    """
    for key, constant in constants.items():
        vertex = needed[key]
        if key in read:
            yield READ, vertex, None
        if constant.operators is None:
            yield vertex, FREE, constant.stored
            continue
        yield vertex, vertex + 1, constant.stored
        yield vertex + 1, FREE, constant.operators
        yield from zip(
            itertools.repeat(vertex + 1),
            (needed[source] for source in constant.reads),
            itertools.repeat(None),
        )
