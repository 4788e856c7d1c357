"""Stored values that a step adds to a model, under names that no other value has.

A name in a body must differ from those around it, so it is looked up in the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import onnx_ir as ir

from packlight.model import graphs, stored_tensor

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


class UniqueNames:
    """Names of a model's values, looked up once, when the first is needed.

    Args:
        model: that gets new values.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model

    @cached_property
    def taken(self) -> set[str]:
        """Names that are not free."""
        return {str(value.name) for graph in graphs(self.model) for value in graph_values(graph)}

    def fresh(self, name: str, mark: str = "_") -> str:
        """The name, with as many marks appended as make it free; it is taken from now on."""
        while name in self.taken:
            name += mark
        self.taken.add(name)
        return name


def graph_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every value of a graph without its subgraphs."""
    yield from (*graph.inputs, *graph.initializers.values())
    for node in graph:
        yield from node.outputs


class StoredValues:
    """Arrays stored once for each graph that reads them, under names that no other value has.

    Args:
        model: that gets them.
    """

    def __init__(self, model: ir.Model) -> None:
        self.names = UniqueNames(model)
        self.values: dict[tuple[int, str], ir.Value] = {}

    def fresh(self, name: str) -> str:
        """The name, or a free one like it."""
        return self.names.fresh(name)

    def store(self, graph: ir.Graph, name: str, array: Array) -> ir.Value:
        """Store an array, or return the equal one stored for this graph under this name."""
        value = self.values.get((id(graph), name))
        if value is None or not _holds(value, array):
            free = self.fresh(name)
            value = ir.Value(name=free, const_value=ir.Tensor(array, name=free))
            self.values[id(graph), name] = value
            graph.register_initializer(value)
        return value


def _holds(value: ir.Value, array: Array) -> bool:
    tensor = stored_tensor(value)
    return tensor is not None and np.array_equal(tensor.numpy(), array)
