"""Peak memory of activations, when operators run in the order of the file.

A value lives from its operator to its last reader; inputs of the model live from the start, its
outputs to the end. Operators that only change the shape share storage with their input; nothing
else runs in place. While an operator with bodies runs, the memory of its largest body comes on top.
The output of an If is written by its branch, so it counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import onnx_ir as ir

from packlight.model import operators
from packlight.profiling.expanded_graph import bodies_of
from packlight.profiling.shape_values import TAKEN

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")

Sizes = Mapping[ir.Value, int]
"""Bytes of the values that count: those computed at every run, and inputs."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Storage for a value and its views.

    Attributes:
        name: of the value.
        size: bytes.
        first: index of the first operator while which it is needed.
        last: index of the last.
    """

    name: str
    size: int
    first: int
    last: int


def peak(graph: ir.Graph, sizes: Sizes) -> tuple[int, str]:
    """Bytes alive at the worst moment, and the operator that runs then."""
    alive = alive_bytes(buffers(graph, sizes, lambda body, inner: peak(body, inner)[0]), len(graph))
    if not alive:
        return 0, ""
    worst = max(range(len(alive)), key=alive.__getitem__)
    return alive[worst], str(list(graph)[worst].name)


def alive_bytes(buffers: Sequence[Buffer], steps: int) -> list[int]:
    """Bytes alive while each operator runs."""
    changes = [0] * (steps + 1)
    for buffer in buffers:
        changes[buffer.first] += buffer.size
        changes[buffer.last + 1] -= buffer.size
    return list(accumulate(changes[:-1]))


def buffers(
    graph: ir.Graph, sizes: Sizes, body_bytes: Callable[[ir.Graph, Sizes], int]
) -> list[Buffer]:
    """Storage that a graph needs.

    Args:
        graph: its operators run in order.
        sizes: bytes of every value that counts.
        body_bytes: computes the bytes that a body needs.
    """
    nodes = list(graph)
    owner = _shared_storage(graph)
    first = {value: 0 for value in graph.inputs if value in sizes}
    last: dict[ir.Value, int] = {}
    storage = []
    for index, node in enumerate(nodes):
        for value in node.outputs:
            if owner[value] is value and value in sizes:
                first[value] = last[value] = index
        last.update(
            (owner.get(value, value), index) for value in (*_read_by(node), *_captured(node))
        )
        bodies = (
            body_bytes(body, _inner_sizes(node, body, sizes)) for body in _running_bodies(node)
        )
        size = max(bodies, default=0)
        if size:
            storage.append(Buffer(f"{node.name} (body)", size, index, index))
    last.update((owner.get(value, value), len(nodes) - 1) for value in graph.outputs if nodes)
    storage += [
        Buffer(str(value.name), sizes[value], start, last[value])
        for value, start in first.items()
        if value in last and sizes[value]
    ]
    return storage


def _shared_storage(graph: ir.Graph) -> dict[ir.Value, ir.Value]:
    home = {value: value for value in graph.inputs}
    for node in graph:
        home.update((value, value) for value in node.outputs)
        if node.op_type in VIEWS and node.domain == "" and node.inputs[0] is not None:
            home[node.outputs[0]] = home.get(node.inputs[0], node.inputs[0])
    return home


def _running_bodies(node: ir.Node) -> list[ir.Graph]:
    branch = node.metadata_props.get(TAKEN)
    if branch:
        return [node.attributes.get_graph(branch)]
    return bodies_of(node)


def _inner_sizes(node: ir.Node, body: ir.Graph, sizes: Sizes) -> Sizes:
    """Bytes of the values inside a body; the outputs of an If lie outside."""
    home = _shared_storage(body)
    outside: set[ir.Value] = set()
    if node.op_type == "If":
        outside = {home.get(value, value) for value in body.outputs}
    return {
        value: sizes[value]
        for inner in body
        for value in inner.outputs
        if value in sizes and value not in outside
    } | _nested_sizes(body, sizes)


def _nested_sizes(body: ir.Graph, sizes: Sizes) -> dict[ir.Value, int]:
    """Bytes of values in bodies within a body."""
    graphs = [deeper for node in body for deeper in bodies_of(node)]
    return {
        value: sizes[value]
        for graph in graphs
        for node in operators(graph)
        for value in node.outputs
        if value in sizes
    }


def _read_by(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None]


def _captured(node: ir.Node) -> list[ir.Value]:
    read: list[ir.Value] = []
    for body in bodies_of(node):
        for inner in operators(body):
            read += _read_by(inner)
        read.extend(body.outputs)
    return read
