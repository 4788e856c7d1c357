"""Choice of operators to compute in integers with the least latency, conversions included.

Every operator has a latency in float and one in integers, and every value costs one conversion
where it passes from one to the other, however many operators read it. The best choice is a minimum
cut: one side computes in integers, the other in float. Source: Boykov and Kolmogorov (PAMI 2004),
section 1, for costs that depend on two choices; ``scipy.sparse.csgraph.maximum_flow``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packlight.compression.minimum_cut import source_side

INTEGERS = 0
FLOATS = 1
"""Ends of the flow."""

UNCUT = 2**29
"""Capacity of edges that must never be cut."""

TOTAL_UNITS = 2**27
"""Sum of all times in units, below ``UNCUT`` so that flows fit 32 bits."""


@dataclass(frozen=True, slots=True)
class OperatorTimes:
    """Seconds of one operator in floats and in integers."""

    floats: float
    integers: float


@dataclass(frozen=True, slots=True)
class PassedValue:
    """A value between operators.

    Attributes:
        maker: name of the operator that computes it; empty for an input of the model.
        readers: names of the operators that read it; empty names for those that are always float.
        to_codes: seconds to quantize it.
        to_floats: seconds to dequantize it.
    """

    maker: str
    readers: tuple[str, ...]
    to_codes: float
    to_floats: float


def cheapest_integers(
    operators: Mapping[str, OperatorTimes],
    values: Sequence[PassedValue],
    needs: Collection[tuple[str, str]] = (),
) -> frozenset[str]:
    """Choose the operators to compute in integers.

    Args:
        operators: those that can compute in integers, by name; all others are float.
        values: that pass between operators.
        needs: pairs of operators of which the first may be in integers only where the second is.

    Returns:
        Names; of choices that cost the same, one with as few of them as possible.
    """
    rows, columns, seconds = edges(operators, values, needs)
    finite = np.isfinite(seconds)
    unit = max(float(seconds[finite].sum()), 1e-12) / TOTAL_UNITS
    units = np.where(finite, np.rint(np.where(finite, seconds, 0) / unit), UNCUT)
    size = 2 + len(operators) + 2 * len(values)
    reached = source_side(rows, columns, units.astype(np.int32), size, (INTEGERS, FLOATS))
    return frozenset(name for row, name in enumerate(operators) if row + 2 in reached)


Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def edges(
    operators: Mapping[str, OperatorTimes],
    values: Sequence[PassedValue],
    needs: Collection[tuple[str, str]],
) -> Edges:
    """Edges of the flow, each cut where its start is in integers and its end in float."""
    vertex = {name: index + 2 for index, name in enumerate(operators)}
    flow: list[tuple[int, int, float]] = []
    for name, times in operators.items():
        flow.append((INTEGERS, vertex[name], times.floats))
        flow.append((vertex[name], FLOATS, times.integers))
    flow += [(vertex[first], vertex[second], np.inf) for first, second in needs]
    for index, value in enumerate(values):
        down = 2 + len(operators) + 2 * index
        maker = vertex.get(value.maker, FLOATS)
        readers = {vertex.get(name, FLOATS) for name in value.readers}
        flow.append((maker, down, value.to_floats))
        flow += [(down, reader, np.inf) for reader in readers]
        flow.append((down + 1, maker, value.to_codes))
        flow += [(reader, down + 1, np.inf) for reader in readers]
    cut = [(start, end, seconds) for start, end, seconds in flow if start not in (end, FLOATS)]
    starts = np.array([start for start, _, _ in cut], np.int64)
    ends = np.array([end for _, end, _ in cut], np.int64)
    return starts, ends, np.array([seconds for _, _, seconds in cut], np.float64)
