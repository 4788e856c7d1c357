"""Where QuantizeLinear and DequantizeLinear go, so that ONNX Runtime fuses integer operators.

The runtime computes an operator in integers when all it reads comes out of a DequantizeLinear and
what it gives goes into a QuantizeLinear. An activation behind a convolution belongs to it.
Source: ONNX Runtime, "QDQ" selectors of the CPU execution provider.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.compress.roles import stored
from packlight.model import nodes

ACTIVATIONS = ("Relu", "Clip")
"""Operators that disappear in the clipping of the grid behind them."""

CARRIERS = ("Add", "Concat", "GlobalAveragePool", "AveragePool")
"""Operators with integer kernels that give a new range."""

PASSES = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that move integers and keep their range."""

FLOAT_OUT = ("Gemm", "MatMul")
"""Operators with integer kernels that can give floats."""


@dataclass(slots=True)
class Plan:
    """What gets a grid.

    Attributes:
        read: values that integer operators read: they get a grid wherever they come from.
        given: values that integer operators give and that get a grid of their own.
        same: values that take over the grid of another, by name.
        carriers: operators that compute in integers without a weight.
    """

    read: dict[str, ir.Value] = field(default_factory=dict)
    given: dict[str, ir.Value] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    carriers: list[ir.Node] = field(default_factory=list)

    def ranges(self) -> Iterable[str]:
        """Names of the values whose range must be known."""
        return [name for name in {**self.read, **self.given} if name not in self.same]

    def source(self, node: ir.Node) -> str:
        """Name of the value whose range decides the grid of an operator's first input."""
        name = str(node.inputs[0].name)  # type: ignore[union-attr]
        return self.same.get(name, name)


def place(graph: ir.Model, weighted: Sequence[ir.Node], unseen: Collection[str] = ()) -> Plan:
    """Decide what gets a grid.

    Args:
        graph: the model.
        weighted: operators with stored weights that are to compute in integers.
        unseen: names of values without a known range, which no other operator may give.
    """
    plan = Plan()
    chosen = set(map(id, weighted))
    for node in nodes(graph):
        if id(node) in chosen:
            source = node.inputs[0]
            assert source is not None
            plan.read[str(source.name)] = source
            give(plan, node)
        elif node.op_type in CARRIERS + PASSES and carries(plan, node, unseen):
            carry(plan, node)
    drop_floats(plan, chosen)
    return plan


def carries(plan: Plan, node: ir.Node, unseen: Collection[str]) -> bool:
    """Whether all that an operator reads comes from integer operators, and its range is known."""
    if behind_activation(node).name in unseen:
        return False
    data = node.inputs[:1] if node.op_type in PASSES else node.inputs
    return all(value is not None and value.name in plan.given for value in data)


def carry(plan: Plan, node: ir.Node) -> None:
    """Let an operator without a weight compute in integers."""
    for value in node.inputs[:1] if node.op_type in PASSES else node.inputs:
        assert value is not None
        plan.read[str(value.name)] = value
    give(plan, node)
    plan.carriers.append(node)
    if node.op_type in PASSES:
        source = str(node.inputs[0].name)  # type: ignore[union-attr]
        plan.same[str(node.outputs[0].name)] = plan.same.get(source, source)


def give(plan: Plan, node: ir.Node) -> None:
    """Give a grid to what an operator gives, behind its activation."""
    value = behind_activation(node)
    plan.given[str(value.name)] = value


def behind_activation(node: ir.Node) -> ir.Value:
    """The value behind the activation that belongs to an operator, or its own."""
    value = node.outputs[0]
    readers = list(value.consumers())
    if len(readers) == 1 and not value.is_graph_output() and readers[0].op_type in ACTIVATIONS:
        (reader,) = readers
        constant = all(stored(v) is not None for v in reader.inputs[1:] if v is not None)
        if constant and reader.graph is node.graph:
            return reader.outputs[0]
    return value


def drop_floats(plan: Plan, chosen: set[int]) -> None:
    """Leave float what only float operators read and an integer kernel can give as float."""
    for name, value in list(plan.given.items()):
        producer = value.producer()
        assert producer is not None
        if producer.op_type in FLOAT_OUT and id(producer) in chosen and name not in plan.read:
            del plan.given[name]
