"""How much memory activations need at once, when operators run in the order of the file.

A value lives from the operator that gives it to the last that reads it; inputs of the model live
from the start, its outputs to the end. Operators that only change the shape share storage with what
they read; nothing else runs in place. While an operator with bodies runs, the memory of the body
that needs most comes on top. What an If gives is written by its branch, so it counts once.
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
"""Bytes of the values that count: those that are computed at every run, and inputs."""


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
    """Bytes alive at once, at the worst moment, and the operator that runs then."""
    alive = alive_bytes(buffers(graph, sizes, lambda body, inner: peak(body, inner)[0]), len(graph))
    worst = max(range(len(alive)), key=alive.__getitem__, default=-1)
    return (alive[worst], str(list(graph)[worst].name)) if worst >= 0 else (0, "")


def alive_bytes(found: Sequence[Buffer], steps: int) -> list[int]:
    """Bytes alive while each operator runs."""
    changes = [0] * (steps + 1)
    for buffer in found:
        changes[buffer.first] += buffer.size
        changes[buffer.last + 1] -= buffer.size
    return list(accumulate(changes[:-1]))


def buffers(
    graph: ir.Graph, sizes: Sizes, within: Callable[[ir.Graph, Sizes], int]
) -> list[Buffer]:
    """Storage that a graph needs.

    Args:
        graph: whose operators run in order.
        sizes: bytes of every value that counts.
        within: bytes that a body needs.
    """
    nodes = list(graph)
    home = shared_storage(graph)
    first = {value: 0 for value in graph.inputs if value in sizes}
    last: dict[ir.Value, int] = {}
    found = []
    for index, node in enumerate(nodes):
        for value in node.outputs:
            if home[value] is value and value in sizes:
                first[value] = last[value] = index
        last.update((home.get(value, value), index) for value in (*read_by(node), *captured(node)))
        extra = max((within(body, inside(node, body, sizes)) for body in running(node)), default=0)
        found += [Buffer(f"{node.name} (body)", extra, index, index)] if extra else []
    last.update((home.get(value, value), len(nodes) - 1) for value in graph.outputs if nodes)
    found += [
        Buffer(str(value.name), sizes[value], start, last[value])
        for value, start in first.items()
        if value in last and sizes[value]
    ]
    return found


def shared_storage(graph: ir.Graph) -> dict[ir.Value, ir.Value]:
    """By value, the value whose storage it has."""
    home = {value: value for value in graph.inputs}
    for node in graph:
        home.update((value, value) for value in node.outputs)
        if node.op_type in VIEWS and node.domain == "" and node.inputs[0] is not None:
            home[node.outputs[0]] = home.get(node.inputs[0], node.inputs[0])
    return home


def running(node: ir.Node) -> list[ir.Graph]:
    """The bodies of an operator that may run."""
    taken = node.metadata_props.get(TAKEN)
    return [node.attributes.get_graph(taken)] if taken else bodies_of(node)


def inside(node: ir.Node, body: ir.Graph, sizes: Sizes) -> Sizes:
    """Bytes of what a body needs of its own: what an If gives lies outside."""
    home = shared_storage(body)
    given = body.outputs if node.op_type == "If" else []
    outside = {home.get(value, value) for value in given}
    return {
        value: sizes[value]
        for inner in body
        for value in inner.outputs
        if value in sizes and value not in outside
    } | nested(body, sizes)


def nested(body: ir.Graph, sizes: Sizes) -> dict[ir.Value, int]:
    """Bytes of values in bodies within a body."""
    graphs = [deeper for node in body for deeper in bodies_of(node)]
    return {
        value: sizes[value]
        for graph in graphs
        for node in operators(graph)
        for value in node.outputs
        if value in sizes
    }


def read_by(node: ir.Node) -> list[ir.Value]:
    """What an operator reads itself."""
    return [value for value in node.inputs if value is not None]


def captured(node: ir.Node) -> list[ir.Value]:
    """Values around an operator that its bodies read."""
    bodies = bodies_of(node)
    inner = [each for body in bodies for each in operators(body)]
    read = [value for each in inner for value in read_by(each)]
    return read + [value for body in bodies for value in body.outputs]
