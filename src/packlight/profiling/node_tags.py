"""Tags in names, by which an operator is found again in a runtime's optimized graph.

A runtime makes the names of fused and inserted nodes from the names in the model. So each operator
and each value is first named by its index, in a form that no other name contains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from packlight.model import Model, nodes

TAG = re.compile(r"packlight:(\d+)(?:\.(\d+))?:")


@dataclass(frozen=True, slots=True, eq=False)
class TaggedModel:
    """A copy of a model with tags as names.

    Attributes:
        model: the copy.
        operators: of the copy, in the order of ``nodes``.
        renamed: by name of an output of the model, its name in the copy.
    """

    model: Model
    operators: tuple[ir.Node, ...]
    renamed: Mapping[str, str]

    def tagged(self, text: str) -> tuple[ir.Node, ir.Value | None] | None:
        """The operator whose tag a name contains, and its output where the tag is of one."""
        match = TAG.search(text)
        if match is None:
            return None
        node = self.operators[int(match[1])]
        if match[2] is None:
            return node, None
        return node, node.outputs[int(match[2])]

    def value(self, text: str) -> ir.Value | None:
        """The value with this name."""
        match = TAG.fullmatch(text)
        if match is None or match[2] is None:
            return None
        return self.operators[int(match[1])].outputs[int(match[2])]


def tag_nodes(model: Model) -> TaggedModel:
    """Copy a model and name every operator, and every output of one, by its index."""
    copy = model.clone()
    operators = tuple(nodes(copy))
    before = [str(value.name) for value in copy.graph.outputs]
    for index, node in enumerate(operators):
        node.name = f"packlight:{index}:"
        for output, value in enumerate(node.outputs):
            if value.name:
                value.name = f"packlight:{index}.{output}:"
    after = (str(value.name) for value in copy.graph.outputs)
    return TaggedModel(Model(copy, model.name), operators, dict(zip(before, after, strict=True)))
