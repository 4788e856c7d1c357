"""Operators in an order in which they can run.

ONNX demands it, and its checker refuses anything else. ONNX Runtime takes any order, and its
quantizer writes files that are not sorted.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator

import onnx


def sort_operators(graph: onnx.GraphProto) -> None:
    """Sort the operators of a graph in place, moving few; a graph with a cycle stays as it is."""
    outputs = enumerate(node.output for node in graph.node)
    producers = {name: index for index, names in outputs for name in names if name}
    dependencies = [
        {producers[name] for name in _names_read(node) if name in producers} - {index}
        for index, node in enumerate(graph.node)
    ]
    if all(max(needed, default=-1) < index for index, needed in enumerate(dependencies)):
        return
    order = _topological_order(dependencies)
    if len(order) == len(dependencies):
        nodes = [graph.node[index] for index in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def _topological_order(dependencies: list[set[int]]) -> list[int]:
    """Indices in an order in which each comes after those it needs, the lowest first.

    >>> _topological_order([{1}, set(), {0}])
    [1, 0, 2]
    """
    readers: dict[int, list[int]] = defaultdict(list)
    for index, needed in enumerate(dependencies):
        for producer in needed:
            readers[producer].append(index)
    missing = [len(needed) for needed in dependencies]
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return order


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that an operator reads, those of outer values that its bodies read included."""
    yield from node.input
    for attribute in node.attribute:
        for body in attribute_graphs(attribute):
            local = {name for inner in body.node for name in inner.output}
            local |= {value.name for value in (*body.input, *body.initializer)}
            for inner in body.node:
                yield from (name for name in _names_read(inner) if name not in local)
            yield from (value.name for value in body.output if value.name not in local)


def attribute_graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """Graphs of one attribute, not those nested in them."""
    if attribute.HasField("g"):
        return [attribute.g, *attribute.graphs]
    return list(attribute.graphs)
