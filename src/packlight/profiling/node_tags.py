"""Names by which an operator is found again in what a runtime made of a graph.

A runtime gives what it fuses or lays out anew names made from those that it found. So each operator
and each value is named by its place first, in a form that no other name contains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from packlight.model import Model, nodes

MARK = re.compile(r"packlight:(\d+)(?:\.(\d+))?:")


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """A copy of a model under names that can be found again.

    Attributes:
        model: the copy.
        operators: of the copy, in the order of ``nodes``.
        renamed: by name of an output of the model, its name in the copy.
    """

    model: Model
    operators: tuple[ir.Node, ...]
    renamed: Mapping[str, str]

    def named_by(self, text: str) -> tuple[ir.Node, ir.Value | None] | None:
        """The operator whose mark a name contains, and its value where that is what is marked."""
        found = MARK.search(text)
        if found is None:
            return None
        node = self.operators[int(found[1])]
        return node, None if found[2] is None else node.outputs[int(found[2])]

    def value(self, text: str) -> ir.Value | None:
        """The value that has this name."""
        found = MARK.fullmatch(text)
        if found is None or found[2] is None:
            return None
        return self.operators[int(found[1])].outputs[int(found[2])]


def marked(model: Model) -> Marked:
    """A copy in which every operator, and every value that one gives, is named by its place."""
    copy = model.clone()
    operators = tuple(nodes(copy))
    before = [str(value.name) for value in copy.graph.outputs]
    for place, node in enumerate(operators):
        node.name = f"packlight:{place}:"
        for index, value in enumerate(node.outputs):
            if value.name:
                value.name = f"packlight:{place}.{index}:"
    after = (str(value.name) for value in copy.graph.outputs)
    return Marked(Model(copy, model.name), operators, dict(zip(before, after, strict=True)))
