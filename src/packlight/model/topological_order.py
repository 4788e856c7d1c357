"""Operators in an order in which they can run.

ONNX demands it and its checker refuses anything else; ONNX Runtime takes any order, and its own
quantizer writes files that are not sorted.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator

import onnx


def put_in_order(graph: onnx.GraphProto) -> None:
    """Sort the operators of a graph in place, as little as possible; one with a cycle stays."""
    made = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needs = [
        {made[name] for name in read(node) if name in made} - {place}
        for place, node in enumerate(graph.node)
    ]
    if all(max(before, default=-1) < place for place, before in enumerate(needs)):
        return
    order = runnable(needs)
    if len(order) == len(needs):
        nodes = [graph.node[place] for place in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def runnable(needs: list[set[int]]) -> list[int]:
    """Places in an order in which each comes after what it needs, the earliest first.

    >>> runnable([{1}, set(), {0}])
    [1, 0, 2]
    """
    readers: dict[int, list[int]] = defaultdict(list)
    for place, before in enumerate(needs):
        for one in before:
            readers[one].append(place)
    left = [len(before) for before in needs]
    ready = [place for place, count in enumerate(left) if not count]
    order = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for reader in readers[place]:
            left[reader] -= 1
            if not left[reader]:
                heapq.heappush(ready, reader)
    return order


def read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that an operator reads, those that its bodies read from around them included."""
    yield from node.input
    for attribute in node.attribute:
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {name for inner in body.node for name in inner.output}
            own |= {value.name for value in (*body.input, *body.initializer)}
            for inner in body.node:
                yield from (name for name in read(inner) if name not in own)
            yield from (value.name for value in body.output if value.name not in own)
