"""Index of values by name: their graphs, and the operators around these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from packlight.model import bodies, graphs, nodes
from packlight.model.map_types import from_proto
from packlight.model.shapes import weights_as_inputs


@dataclass(frozen=True, slots=True)
class Body:
    """A graph in an attribute of an operator."""

    node: ir.Node
    graph: ir.Graph

    def siblings(self) -> list[ir.Graph]:
        """The remaining graphs in attributes of the operator: of an If, the second branch."""
        return [graph for graph in bodies(self.node) if graph is not self.graph]


@dataclass(frozen=True, slots=True)
class ValueIndex:
    """Every value by name, and every subgraph's operator.

    Attributes:
        main: the outermost graph.
        values: by name, each value with its graph; more than one where branches share a name.
        bodies: by identity of a subgraph, its body.
    """

    main: ir.Graph
    values: Mapping[str, list[tuple[ir.Value, ir.Graph]]]
    bodies: Mapping[int, Body]

    def nested(self, name: str) -> bool:
        """Test whether a value of this name lies in a subgraph."""
        return any(graph is not self.main for _, graph in self.values[name])

    def path(self, graph: ir.Graph) -> list[Body]:
        """The bodies around a graph, outermost first, itself last; empty for the main graph."""
        path: list[Body] = []
        while graph is not self.main:
            body = self.bodies[id(graph)]
            path.insert(0, body)
            outer = body.node.graph
            assert isinstance(outer, ir.Graph)
            graph = outer
        return path


def index_values(model: ir.Model) -> ValueIndex:
    """Index every value of a graph and of its subgraphs."""
    values: dict[str, list[tuple[ir.Value, ir.Graph]]] = {}
    for graph in graphs(model):
        stored = list(graph.initializers.values())
        inputs = [value for value in graph.inputs if value.name not in graph.initializers]
        outputs = [value for node in graph for value in node.outputs]
        for value in inputs + stored + outputs:
            if value.name:
                values.setdefault(value.name, []).append((value, graph))
    by_graph = {id(graph): Body(node, graph) for node in nodes(model) for graph in bodies(node)}
    return ValueIndex(model.graph, values, by_graph)


def infer_types(model: ir.Model) -> ir.Model:
    """Infer types of values and fill them in, in place, as far as possible."""
    sketch = model.clone()
    weights_as_inputs(sketch)
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(sketch))
    inferred = index_values(from_proto(proto))
    for name, entries in index_values(model).values.items():
        for (value, _), (typed, _) in zip(entries, inferred.values.get(name, ()), strict=False):
            value.type = value.type or typed.type
            value.meta.update(typed.meta)
    return model
