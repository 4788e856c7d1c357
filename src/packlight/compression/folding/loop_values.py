"""Values that loops hand on unchanged: their bodies read them from outside instead.

Converters carry weights from iteration to iteration of a Loop or Scan. What a body gives back as it
came in is the outer value at every iteration, and after the last, so it need not be carried.
Source: ONNX, Loop-16 and Scan-11, whose bodies may read values of the graphs around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.sites.weight_roles import is_standard
from packlight.model import bodies, nodes


@dataclass(frozen=True, slots=True)
class Carried:
    """Values that an operator carries through the iterations of its body.

    Attributes:
        node: the operator.
        body: its body.
        outer: index of the first of them among the operator's inputs, and the body's.
        result: index of the first of them among the body's outputs.
        count: number of them.
    """

    node: ir.Node
    body: ir.Graph
    outer: int
    result: int
    count: int

    def unchanged(self) -> Iterator[int]:
        """Indices of the values that the body gives back as they came in, last ones first."""
        for index in reversed(range(self.count)):
            entering = self.body.inputs[self.outer + index]
            if _source(self.body.outputs[self.result + index]) is entering:
                yield index

    def read_outside(self, index: int) -> None:
        """Let the body, and all behind the operator, read a value from outside; not carry it."""
        node = self.node
        entering = self.body.inputs[self.outer + index]
        source = node.inputs[self.outer + index]
        if source is None:
            return
        for reader, position in list(entering.uses()):
            reader.replace_input_with(position, source)
        result = self.result + index
        others = [*self.body.outputs[:result], *self.body.outputs[result + 1 :]]
        if node.outputs[index].is_graph_output() or any(value is entering for value in others):
            return  # what a graph gives must be its own
        node.outputs[index].replace_all_uses_with(source)
        del self.body.outputs[result]
        del self.body.inputs[self.outer + index]
        _drop_input(node, self.outer + index)
        _drop_output(node, index)


def carried_values(node: ir.Node) -> Carried | None:
    """Values that an operator carries; None where it is no Loop or Scan."""
    if is_standard(node, "Loop"):
        (body,) = bodies(node)
        return Carried(node, body, outer=2, result=1, count=len(body.inputs) - 2)
    if is_standard(node, "Scan") and "directions" not in node.attributes:
        (body,) = bodies(node)
        count = len(body.inputs) - node.attributes.get_int("num_scan_inputs", 0)
        if len(node.inputs) == len(body.inputs):  # the Scan of opset 8 has another one
            return Carried(node, body, outer=0, result=0, count=count)
    return None


def read_loop_values_outside(graph: ir.Model) -> None:
    """Let bodies read from outside what they hand on unchanged, in place."""
    for node in list(nodes(graph)):
        carried = carried_values(node)
        if carried is not None:
            for index in list(carried.unchanged()):
                carried.read_outside(index)


def _source(value: ir.Value) -> ir.Value:
    """The value that copies by Identity come from."""
    node = value.producer()
    while node is not None and is_standard(node, "Identity") and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _drop_input(node: ir.Node, index: int) -> None:
    last = len(node.inputs) - 1
    for position in range(index, last):
        node.replace_input_with(position, node.inputs[position + 1])
    node.resize_inputs(last)


def _drop_output(node: ir.Node, index: int) -> None:
    last = len(node.outputs) - 1
    node.outputs[index].name = None
    for position in range(index, last):
        old = node.outputs[position + 1]
        new = node.outputs[position]
        name = old.name
        new.type = old.type
        new.shape = old.shape
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        old.name = None
        new.name = name
    node.resize_outputs(last)
