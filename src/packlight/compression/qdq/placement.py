"""Where QuantizeLinear and DequantizeLinear go, so that a runtime fuses integer operators.

A runtime computes an operator in integers when all it reads comes out of a DequantizeLinear and
what it gives goes into a QuantizeLinear. An activation behind a convolution belongs to it.
Which operators that holds for is in ``fusions``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.backends.integer_fusions import Fusions, fusions
from packlight.compression.sites.weight_roles import stored
from packlight.model import nodes
from packlight.records.reason_code import ReasonCode

ONNXRUNTIME = fusions("onnxruntime")


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
        by: what the runtime computes in integers.
    """

    read: dict[str, ir.Value] = field(default_factory=dict)
    given: dict[str, ir.Value] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    carriers: list[ir.Node] = field(default_factory=list)
    by: Fusions = field(kw_only=True)

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

    def behind(self, node: ir.Node) -> ir.Value:
        """The value behind the activation that belongs to an operator, or its own."""
        return behind_activation(node, self.by.activations)


def place(
    graph: ir.Model,
    weighted: Sequence[ir.Node],
    unseen: Collection[str] = (),
    floats: Callable[[ir.Node], bool] = none_is_float,
    by: Fusions = ONNXRUNTIME,
) -> Plan:
    """Decide what gets a grid.

    Args:
        graph: the model.
        weighted: operators with stored weights that are to compute in integers.
        unseen: names of values without a known range, which no other operator may give.
        floats: whether an operator without a weight is to stay in float.
        by: what the runtime computes in integers.
    """
    plan = Plan(by=by)
    chosen = set(map(id, weighted))
    for node in nodes(graph):
        if id(node) in chosen:
            source = node.inputs[0]
            assert source is not None
            plan.read[str(source.name)] = source
            give(plan, node)
        elif not floats(node) and carries(plan, node, unseen):
            carry(plan, node)
    drop_floats(plan, chosen)
    for node in plan.carriers:
        if node.op_type in by.one_scale:
            share_scale(plan, node)
    return plan


def share_scale(plan: Plan, node: ir.Node) -> None:
    """Give the parts that only a Concat reads the grid of the whole, so that it only copies."""
    whole = plan.root(str(plan.behind(node).name))
    for value in node.inputs:
        assert value is not None
        name = str(value.name)
        if len(value.uses()) == 1 and name not in plan.same and name != whole:
            plan.same[name] = whole


def carries(plan: Plan, node: ir.Node, unseen: Collection[str]) -> bool:
    """Whether the runtime computes an operator without a weight, and all it reads, in integers."""
    known = node.op_type in plan.by.carriers + plan.by.passes
    if node.op_type in plan.by.weighted and any(map(stored, node.inputs[1:2])):
        return False  # its weight would get the grid of an activation
    if not known or plan.behind(node).name in unseen:
        return False
    data = list(moved(plan, node))
    computed = [value for value in data if value is not None and stored(value) is None]
    return bool(computed) and all(value is not None and on_grid(plan, value) for value in data)


def moved(plan: Plan, node: ir.Node) -> Iterator[ir.Value | None]:
    """What an operator without a weight reads, but for indices and shapes."""
    for value in node.inputs[:1] if node.op_type in plan.by.passes else node.inputs:
        tensor = stored(value)
        if tensor is None or tensor.dtype == ir.DataType.FLOAT:
            yield value


def on_grid(plan: Plan, value: ir.Value) -> bool:
    """Whether a value comes from an integer operator, or is stored and may get a grid."""
    return value.name in plan.given or (plan.by.constants and stored(value) is not None)


def carry(plan: Plan, node: ir.Node) -> None:
    """Let an operator without a weight compute in integers."""
    for value in moved(plan, node):
        assert value is not None
        plan.read[str(value.name)] = value
    give(plan, node)
    plan.carriers.append(node)
    if node.op_type in plan.by.passes:
        source = str(node.inputs[0].name)  # type: ignore[union-attr]
        plan.same[str(node.outputs[0].name)] = source


def give(plan: Plan, node: ir.Node) -> None:
    """Give a grid to what an operator gives, behind its activation."""
    value = plan.behind(node)
    plan.given[str(value.name)] = value


def behind_activation(
    node: ir.Node, activations: Collection[str] = ONNXRUNTIME.activations
) -> ir.Value:
    """The value behind the activation that belongs to an operator, or its own."""
    value = node.outputs[0]
    readers = list(value.consumers())
    if len(readers) == 1 and not value.is_graph_output() and readers[0].op_type in activations:
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
        gives = producer.op_type in plan.by.float_out and id(producer) in chosen
        if gives and name not in plan.read:
            del plan.given[name]


def left_out(
    graph: ir.Model, plan: Plan, floats: Callable[[ir.Node], bool]
) -> Iterator[tuple[ir.Node, ReasonCode, str]]:
    """Operators without a weight that stay in float although integers reach them, and why."""
    carried = set(map(id, plan.carriers))
    for node in nodes(graph):
        if node.op_type in plan.by.floats:
            yield node, "no-kernel", plan.by.floats[node.op_type]
        if node.op_type not in plan.by.carriers or id(node) in carried:
            continue
        missing = [v for v in moved(plan, node) if v is not None and not on_grid(plan, v)]
        if floats(node):
            yield node, "skipped", "skip= names it"
        elif missing and len(missing) < len(node.inputs):
            reason = f"it also reads {missing[0].name}, which no integer operator gives"
            yield node, "float-input", reason


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
