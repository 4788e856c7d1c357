"""Where values live: which graph, in the body of which operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from packlight.model import bodies, graphs, nodes
from packlight.model.shapes import weights_as_inputs


@dataclass(frozen=True, slots=True)
class Body:
    """A graph in an attribute of an operator."""

    node: ir.Node
    graph: ir.Graph

    def siblings(self) -> list[ir.Graph]:
        """Other graphs in attributes of the same operator, as the other branch of an If."""
        return [graph for graph in bodies(self.node) if graph is not self.graph]


@dataclass(frozen=True, slots=True)
class Index:
    """Every value by name, and every subgraph's operator.

    Attributes:
        main: the outermost graph.
        values: by name, each value with its graph; more than one where branches share a name.
        around: by identity of a subgraph, the body that it is.
    """

    main: ir.Graph
    values: Mapping[str, list[tuple[ir.Value, ir.Graph]]]
    around: Mapping[int, Body]

    def nested(self, name: str) -> bool:
        """Whether a value of this name lies in a subgraph."""
        return any(graph is not self.main for _, graph in self.values[name])

    def path(self, graph: ir.Graph) -> list[Body]:
        """The bodies around a graph, outermost first, itself last; empty for the main graph."""
        found: list[Body] = []
        while graph is not self.main:
            body = self.around[id(graph)]
            found.insert(0, body)
            outer = body.node.graph
            assert isinstance(outer, ir.Graph)
            graph = outer
        return found


def indexed(model: ir.Model) -> Index:
    """Look up every value of a graph and of its subgraphs."""
    values: dict[str, list[tuple[ir.Value, ir.Graph]]] = {}
    for graph in graphs(model):
        stored = list(graph.initializers.values())
        fed = [value for value in graph.inputs if value.name not in graph.initializers]
        made = [value for node in graph for value in node.outputs]
        for value in fed + stored + made:
            if value.name:
                values.setdefault(value.name, []).append((value, graph))
    around = {id(graph): Body(node, graph) for node in nodes(model) for graph in bodies(node)}
    return Index(model.graph, values, around)


def with_types(model: ir.Model) -> ir.Model:
    """Fill in the types of values, in place, as far as they can be inferred."""
    hollow = model.clone()
    weights_as_inputs(hollow)
    inferred = indexed(ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(hollow))))
    for name, places in indexed(model).values.items():
        for (value, _), (typed, _) in zip(places, inferred.values.get(name, ()), strict=False):
            value.type = value.type or typed.type
    return model
