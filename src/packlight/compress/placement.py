"""Where QuantizeLinear and DequantizeLinear go, so that ONNX Runtime fuses integer operators.

The runtime computes an operator in integers when all it reads comes out of a DequantizeLinear and
what it gives goes into a QuantizeLinear. An activation behind a convolution belongs to it.
Source: ONNX Runtime, "QDQ" selectors of the CPU execution provider.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.compress.roles import stored
from packlight.model import nodes

ACTIVATIONS = ("Relu", "Clip")
"""Operators that disappear in the clipping of the grid behind them."""

CARRIERS = ("Add", "Mul", "Concat", "GlobalAveragePool", "AveragePool", "Sigmoid", "LeakyRelu")
"""Operators with integer kernels that give a new range."""

PASSES = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that move integers and keep their range."""

FLOAT_OUT = ("Gemm", "MatMul")
"""Operators with integer kernels that can give floats."""


def none_is_float(node: ir.Node) -> bool:
    """Lets every operator without a weight compute in integers."""
    del node
    return False


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

    def root(self, name: str) -> str:
        """Name of the value whose range a value's grid is of."""
        while name in self.same:
            name = self.same[name]
        return name

    def source(self, node: ir.Node) -> str:
        """Name of the value whose range decides the grid of an operator's first input."""
        return self.root(str(node.inputs[0].name))  # type: ignore[union-attr]


def place(
    graph: ir.Model,
    weighted: Sequence[ir.Node],
    unseen: Collection[str] = (),
    floats: Callable[[ir.Node], bool] = none_is_float,
) -> Plan:
    """Decide what gets a grid.

    Args:
        graph: the model.
        weighted: operators with stored weights that are to compute in integers.
        unseen: names of values without a known range, which no other operator may give.
        floats: whether an operator without a weight is to stay in float.
    """
    plan = Plan()
    chosen = set(map(id, weighted))
    for node in nodes(graph):
        if id(node) in chosen:
            source = node.inputs[0]
            assert source is not None
            plan.read[str(source.name)] = source
            give(plan, node)
        elif node.op_type in CARRIERS + PASSES and not floats(node) and carries(plan, node, unseen):
            carry(plan, node)
    drop_floats(plan, chosen)
    for node in plan.carriers:
        if node.op_type == "Concat":
            share_scale(plan, node)
    return plan


def share_scale(plan: Plan, node: ir.Node) -> None:
    """Give the parts that only a Concat reads the grid of the whole, so that it only copies."""
    whole = plan.root(str(behind_activation(node).name))
    for value in node.inputs:
        assert value is not None
        name = str(value.name)
        if len(value.uses()) == 1 and name not in plan.same and name != whole:
            plan.same[name] = whole


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
        plan.same[str(node.outputs[0].name)] = source


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


FLOAT_ONLY = {
    "LayerNormalization": "its sums over a row need more than 8 bits",
    "Softmax": "its exponentials need more than 8 bits",
}
"""Operators that stay in float although some runtimes have integer kernels, and why."""


def left_out(
    graph: ir.Model, plan: Plan, floats: Callable[[ir.Node], bool]
) -> Iterator[tuple[ir.Node, str]]:
    """Operators without a weight that stay in float although integers reach them, and why."""
    carried = set(map(id, plan.carriers))
    for node in nodes(graph):
        if node.op_type in FLOAT_ONLY:
            yield node, FLOAT_ONLY[node.op_type]
        if node.op_type not in CARRIERS or id(node) in carried:
            continue
        missing = [v for v in node.inputs if v is not None and v.name not in plan.given]
        if floats(node):
            yield node, "skip= names it"
        elif missing and len(missing) < len(node.inputs):
            yield node, f"it also reads {missing[0].name}, which no integer operator gives"


def ends(graph: ir.Model, weighted: Sequence[ir.Node]) -> tuple[set[ir.Node], set[ir.Node]]:
    """The operators that read the model's inputs, and those behind which there is no other.

    Args:
        graph: the model.
        weighted: operators with weights, in the order they run.
    """
    chosen = set(weighted)
    first = reached_by(list(graph.graph.inputs), chosen)
    return first, chosen - followed(graph, chosen)


def followed(graph: ir.Model, chosen: Collection[ir.Node]) -> set[ir.Node]:
    """The operators behind which there is one of those chosen."""
    found = set[ir.Node]()
    for node in reversed(list(nodes(graph))):
        readers = (reader for value in node.outputs for reader in value.consumers())
        if any(reader in chosen or reader in found for reader in readers):
            found.add(node)
    return found


def reached_by(values: list[ir.Value], chosen: Collection[ir.Node]) -> set[ir.Node]:
    """The first of some operators on every way on from values."""
    found, seen = set[ir.Node](), set[ir.Node]()
    while values:
        for node in values.pop().consumers():
            if node in chosen:
                found.add(node)
            elif node not in seen:
                seen.add(node)
                values.extend(node.outputs)
    return found
