"""Operators that share stored values, which are compressed together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.methods.float16 import SMALLEST
from packlight.model import nodes, stored_tensor


@dataclass(frozen=True, slots=True)
class Cluster:
    """Operators that share stored values, mostly a single one.

    Attributes:
        nodes: in the order they run.
    """

    nodes: tuple[ir.Node, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its operators."""
        return tuple(str(node.name) for node in self.nodes)


def clusters(model: ir.Model) -> Iterator[Cluster]:
    """Operators that read large stored values, in the order they run.

    Those that share one belong together, also by way of others.
    """
    leader: dict[ir.Node, ir.Node] = {}

    def first(node: ir.Node) -> ir.Node:
        while leader[node] is not node:
            node = leader[node]
        return node

    for node in nodes(model):
        if not any(large(value) for value in node.inputs):
            continue
        leader[node] = node
        for value in filter(large, node.inputs):
            assert value is not None
            for other in value.consumers():
                if other in leader:
                    leader[first(node)] = first(other)
    together: dict[ir.Node, list[ir.Node]] = {}
    for node in leader:
        together.setdefault(first(node), []).append(node)
    return (Cluster(tuple(nodes)) for nodes in together.values())


def large(value: ir.Value | None) -> bool:
    """Whether a value is stored, in a Constant too, and not too small for any method."""
    tensor = None if value is None else stored_tensor(value)
    return tensor is not None and tensor.size >= SMALLEST
