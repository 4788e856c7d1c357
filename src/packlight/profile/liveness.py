"""How much memory activations need at once, when operators run in the order of the file.

A value lives from the operator that gives it to the last that reads it. Operators that only change
the shape share storage with what they read; nothing else runs in place.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")


def peak_activation(graph: ir.Graph, sizes: Mapping[str, int]) -> tuple[int, str]:
    """Bytes alive at once, at the worst moment, and the operator that runs then.

    Args:
        graph: whose operators run in order; stored values do not count.
        sizes: bytes of every value that counts, inputs of the model among them.
    """
    storage = shared_storage(graph)
    last = last_uses(graph, storage)
    alive = {str(v.name): sizes.get(str(v.name), 0) for v in graph.inputs if v.name in sizes}
    peak, where = sum(alive.values()), ""
    for index, node in enumerate(graph):
        for value in node.outputs:
            name = storage.get(str(value.name), "")
            if name == value.name:
                alive[name] = sizes.get(name, 0)
        now = sum(alive.values())
        if now > peak:
            peak, where = now, str(node.name)
        for name in [name for name in alive if last.get(name, -1) <= index]:
            del alive[name]
    return peak, where


def shared_storage(graph: ir.Graph) -> dict[str, str]:
    """By value, the value whose storage it has."""
    storage = {str(value.name): str(value.name) for value in graph.inputs}
    for node in graph:
        for value in node.outputs:
            storage[str(value.name)] = str(value.name)
        if node.op_type in VIEWS and node.inputs[0] is not None:
            source = str(node.inputs[0].name)
            storage[str(node.outputs[0].name)] = storage.get(source, source)
    return storage


def last_uses(graph: ir.Graph, storage: Mapping[str, str]) -> dict[str, int]:
    """By storage, the index of the last operator that reads it; outputs live to the end."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph):
        for value in (*node.inputs, *node.outputs, *captured(node)):
            if value is not None:
                last[storage.get(str(value.name), str(value.name))] = index
    for value in graph.outputs:
        last[storage.get(str(value.name), str(value.name))] = len(graph)
    return last


def captured(node: ir.Node) -> list[ir.Value]:
    """Values of outer graphs that the bodies of an operator read."""
    bodies = [
        graph
        for attribute in node.attributes.values()
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        for graph in (
            attribute.as_graphs()
            if attribute.type == ir.AttributeType.GRAPHS
            else [attribute.as_graph()]
        )
    ]
    inner = [node for body in bodies for node in ir.traversal.RecursiveGraphIterator(body)]
    return [value for node in inner for value in node.inputs if value is not None]
