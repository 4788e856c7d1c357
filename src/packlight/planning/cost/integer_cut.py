"""Which operators to compute in integers so that a run takes least time, borders included.

Every operator costs one time in float and another in integers, and every value costs a conversion
where it passes from one to the other, once however many read it. The cheapest choice is a minimum
cut: one side computes in integers, the other in float. Source: Boykov and Kolmogorov (PAMI 2004),
section 1, for costs that depend on two choices; ``scipy.sparse.csgraph.maximum_flow``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INTEGERS, FLOATS = 0, 1
"""The two ends of the flow."""

FOREVER = 2**29
"""Capacity of what must never be cut."""

LARGEST = 2**27
"""Sum of all times in whole units, so that it is below ``FOREVER`` and flows fit 32 bits."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of one operator, in seconds."""

    floats: float
    integers: float


@dataclass(frozen=True, slots=True)
class Passing:
    """A value between operators.

    Attributes:
        maker: name of the operator that gives it; empty for an input of the model.
        readers: names of the operators that read it; empty names for those that are always float.
        to_codes: seconds to quantize it.
        to_floats: seconds to dequantize it.
    """

    maker: str
    readers: tuple[str, ...]
    to_codes: float
    to_floats: float


def cheapest(
    operators: Mapping[str, Times],
    values: Sequence[Passing],
    needs: Collection[tuple[str, str]] = (),
) -> frozenset[str]:
    """The operators to compute in integers.

    Args:
        operators: those that can compute in integers, by name; all others are float.
        values: what passes between them and others.
        needs: pairs of operators of which the first may be in integers only where the second is.

    Returns:
        Names; of choices that cost the same, one with as few of them as possible.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415  scipy takes long to load
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow  # noqa: PLC0415

    rows, columns, seconds = edges(operators, values, needs)
    finite = np.isfinite(seconds)
    unit = max(float(seconds[finite].sum()), 1e-12) / LARGEST
    units = np.where(finite, np.rint(np.where(finite, seconds, 0) / unit), FOREVER)
    size = 2 + len(operators) + 2 * len(values)
    network = csr_array((units.astype(np.int32), (rows, columns)), shape=(size, size))
    network.sum_duplicates()
    left = network - maximum_flow(network, INTEGERS, FLOATS).flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    reached = set(breadth_first_order(left, INTEGERS, return_predecessors=False).tolist())
    return frozenset(name for place, name in enumerate(operators) if place + 2 in reached)


Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def edges(
    operators: Mapping[str, Times], values: Sequence[Passing], needs: Collection[tuple[str, str]]
) -> Edges:
    """Edges of the flow: what is cut where its start is in integers and its end in float."""
    place = {name: index + 2 for index, name in enumerate(operators)}
    found: list[tuple[int, int, float]] = []
    for name, times in operators.items():
        found.append((INTEGERS, place[name], times.floats))
        found.append((place[name], FLOATS, times.integers))
    found += [(place[first], place[second], np.inf) for first, second in needs]
    for index, value in enumerate(values):
        down = 2 + len(operators) + 2 * index
        maker = place.get(value.maker, FLOATS)
        readers = {place.get(name, FLOATS) for name in value.readers}
        found.append((maker, down, value.to_floats))
        found += [(down, reader, np.inf) for reader in readers]
        found.append((down + 1, maker, value.to_codes))
        found += [(reader, down + 1, np.inf) for reader in readers]
    kept = [(a, b, cost) for a, b, cost in found if a not in (b, FLOATS)]
    rows, columns, seconds = zip(*kept, strict=True) if kept else ((), (), ())
    return np.array(rows, np.int64), np.array(columns, np.int64), np.array(seconds, np.float64)
