"""Names for values that a step adds to a model, which no other value has.

A name in a body must differ from those around it, so it is looked for in the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import onnx_ir as ir

from packlight.model import graphs


class UniqueNames:
    """The names of a model's values, which are looked up once, when the first is needed.

    Args:
        model: what values are added to.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model

    @cached_property
    def taken(self) -> set[str]:
        """What a new value must not be called."""
        return {str(value.name) for graph in graphs(self.model) for value in graph_values(graph)}

    def fresh(self, name: str, mark: str = "_") -> str:
        """The name, with marks behind it until it is not taken; it is from now on."""
        while name in self.taken:
            name += mark
        self.taken.add(name)
        return name


def graph_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every value of a graph, those of its subgraphs left out."""
    yield from (*graph.inputs, *graph.initializers.values())
    for node in graph:
        yield from node.outputs
