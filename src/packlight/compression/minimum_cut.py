"""Minimum cut of a flow network, by which choices that depend on each other are made at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.int64]


def source_side(
    starts: Vertices,
    ends: Vertices,
    capacities: NDArray[np.int32],
    size: int,
    ends_of_flow: tuple[int, int],
) -> set[int]:
    """Find the vertices on the side of the source; of minimum cuts, that with fewest of them.

    Args:
        starts: vertex where each edge begins (edges,).
        ends: vertex where it ends (edges,).
        capacities: cost of cutting it (edges,); those of equal edges add up.
        size: number of vertices.
        ends_of_flow: source and sink.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415  scipy takes long to load
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow  # noqa: PLC0415

    source, sink = ends_of_flow
    network = csr_array((capacities, (starts, ends)), shape=(size, size))
    network.sum_duplicates()
    residual = network - maximum_flow(network, source, sink).flow
    residual.data = np.maximum(residual.data, 0)
    residual.eliminate_zeros()
    return set(breadth_first_order(residual, source, return_predecessors=False).tolist())
