"""Layered drawing of a directed graph: layers by longest path, order by barycenters.

Source: Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System
Structures", IEEE Transactions on Systems, Man, and Cybernetics, 1981.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SWEEPS = 4
"""Passes down and up that reorder layers; further ones change little."""

COLUMN = 190.0
"""Distance of neighbors in a layer."""

ROW = 56.0
"""Distance of layers."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Positions of nodes.

    Attributes:
        x: center of each node (n,).
        y: center of each node (n,).
        width: of the drawing.
        height: of the drawing.
    """

    x: Floats
    y: Floats
    width: float
    height: float


def draw(count: int, edges: Sequence[tuple[int, int]]) -> Drawing:
    """Draw a graph top to bottom.

    Args:
        count: number of nodes, numbered in an order that edges mostly follow.
        edges: source and target; an edge that leads to an earlier node moves no layer.
    """
    if not count:
        return Drawing(np.zeros(0), np.zeros(0), 0.0, 0.0)
    forward = sorted({(source, target) for source, target in edges if source < target})
    layers = layers_of(count, forward)
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in forward:
        above[target].append(source)
        below[source].append(target)
    members = _members(layers)
    x = np.zeros(count)
    for nodes in members:
        _spread(x, nodes, [float(rank) for rank in range(len(nodes))])
    down_and_up = ((above, members), (below, members[::-1]))
    for sweep in range(SWEEPS):
        neighbors, ordered = down_and_up[sweep % 2]
        for nodes in ordered:
            _settle(x, nodes, neighbors)
    x -= x.min()
    width = float(x.max() + 1) * COLUMN
    height = float(layers.max() + 1) * ROW
    y = (layers.astype(np.float64) + 0.5) * ROW
    return Drawing((x + 0.5) * COLUMN, y, width, height)


def layers_of(count: int, edges: Sequence[tuple[int, int]]) -> Integers:
    """Length of the longest path to each node (n,); nodes that read nothing stand before a reader.

    Args:
        count: number of nodes.
        edges: sorted by source, each from a lower to a higher number.
    """
    layers = [0] * count
    first_reader: dict[int, int] = {}
    reads: set[int] = set()
    for source, target in edges:
        layers[target] = max(layers[target], layers[source] + 1)
        reads.add(target)
    for source, target in edges:
        first_reader[source] = min(first_reader.get(source, layers[target]), layers[target])
    for node, layer in first_reader.items():
        if node not in reads:
            layers[node] = layer - 1
    return np.array(layers, np.int64)


def _members(layers: Integers) -> list[list[int]]:
    """Nodes of each layer."""
    members: list[list[int]] = [[] for _ in range(int(layers.max()) + 1)]
    for node, layer in enumerate(layers.tolist()):
        members[layer].append(node)
    return members


def _settle(x: Floats, nodes: list[int], neighbors: Sequence[Sequence[int]]) -> None:
    """Move the nodes of a layer towards the mean of their neighbors, in place."""
    wanted = []
    for node in nodes:
        near = neighbors[node] or [node]
        wanted.append(float(sum(x[other] for other in near) / len(near)))
    if len(nodes) == 1:
        x[nodes[0]] = wanted[0]
        return
    order = sorted(range(len(nodes)), key=lambda index: (wanted[index], index))
    nodes[:] = [nodes[index] for index in order]
    _spread(x, nodes, [wanted[index] for index in order])


def _spread(x: Floats, nodes: Sequence[int], wanted: Sequence[float]) -> None:
    """Place nodes left to right at least 1 apart, with the mean of their wanted places."""
    places: list[float] = []
    lowest = -math.inf
    for place in wanted:
        places.append(max(place, lowest))
        lowest = places[-1] + 1
    shift = (sum(wanted) - sum(places)) / len(places)
    for node, place in zip(nodes, places, strict=True):
        x[node] = place + shift
