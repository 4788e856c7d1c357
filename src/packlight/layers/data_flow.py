"""What a graph computes, seen through what only stores or rounds it.

A value that is quantized and restored, cast between floats, or copied is still the same value, and
one that is made of stored values alone is a weight, whatever unpacks it. Every value thus has a
root: the value that an operator gave before it was rounded. What readers get of a root, its
delivered value, carries the rounding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import onnx_ir as ir

COPIES = frozenset({"Identity", "Dropout"})
ROUNDERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
RESTORERS = frozenset({"DequantizeLinear"})
RANDOM = ("Random", "Multinomial", "Bernoulli")
FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16, None}
)
"""Types of real numbers; a value whose type is not known is taken to be one."""


class Flow:
    """Roots and weights of one graph, bodies of operators seen from outside.

    Args:
        model: the graph; types of values are known as far as they can be.

    Attributes:
        constant: values that are made of stored ones alone.
        operators: of the main graph that compute at every run, without those that are seen through.
        values: of the main graph, by name.
    """

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.values: dict[str, ir.Value] = {}
        self.constant: set[ir.Value] = set()
        self.roots: dict[ir.Value, ir.Value] = {}
        self.operators: list[ir.Node] = []
        self.chains: dict[ir.Value, list[ir.Value]] = defaultdict(list)
        stored = set(self.graph.initializers.values())
        for value in (*self.graph.inputs, *stored):
            self.values[str(value.name)] = value
        self.constant |= {value for value in stored if not value.is_graph_input()}
        for node in self.graph:
            self.take(node)
        for value in self.values.values():
            if value not in self.constant:
                self.chains[self.root(value)].append(value)

    def take(self, node: ir.Node) -> None:
        """Note what one operator gives, those before it being noted."""
        self.values.update((str(value.name), value) for value in node.outputs if value.name)
        if self.is_constant(node):
            self.constant.update(node.outputs)
        elif is_seen_through(node) and node.inputs[0] is not None:
            self.roots[node.outputs[0]] = self.root(node.inputs[0])
        else:
            self.operators.append(node)

    def is_constant(self, node: ir.Node) -> bool:
        """Whether an operator gives the same at every run."""
        if holds_graphs(node) or node.op_type.startswith(RANDOM):
            return False
        return all(value is None or value in self.constant for value in node.inputs)

    def root(self, value: ir.Value) -> ir.Value:
        """The value before it was rounded or copied."""
        return self.roots.get(value, value)

    def data(self, node: ir.Node) -> list[ir.Value | None]:
        """Roots of what an operator reads that is computed; None for stored and missing inputs."""
        return [
            None if value is None or value in self.constant else self.root(value)
            for value in node.inputs
        ]

    def weights(self, node: ir.Node) -> Iterator[tuple[int, ir.Value]]:
        """Inputs of an operator that are the same at every run, by place."""
        for place, value in enumerate(node.inputs):
            if value is not None and value in self.constant:
                yield place, value

    def reads(self, root: ir.Value) -> Iterator[tuple[ir.Node, int, ir.Value]]:
        """Operators that read a root, in bodies too, with the place and the value that is read."""
        for value in self.chains[root]:
            for use in value.uses():
                if not self.passes(use.node):
                    yield use.node, use.idx, value

    def passes(self, node: ir.Node) -> bool:
        """Whether a reader of a value is itself seen through."""
        return bool(node.outputs) and node.outputs[0] in self.roots

    def delivered(self, root: ir.Value) -> ir.Value:
        """What most readers get of a root; of outputs of the model, what is given."""
        read = Counter(
            value
            for node, _, value in self.reads(root)
            if value.dtype in FLOATS and node.op_type not in ROUNDERS
        )
        for value in self.chains[root]:
            if value.is_graph_output():
                return value
        if not read:
            return root
        order = {value: place for place, value in enumerate(self.chains[root])}
        return max(read, key=lambda value: (read[value], order[value]))

    def rounders(self, root: ir.Value) -> Iterator[tuple[ir.Node, ir.Node]]:
        """Pairs of a QuantizeLinear and a DequantizeLinear between a root and its readers."""
        for value in self.chains[root]:
            maker = value.producer()
            before = None if maker is None or not maker.inputs[0] else maker.inputs[0].producer()
            if maker is None or before is None:
                continue
            if maker.op_type in RESTORERS and before.op_type in ROUNDERS:
                yield before, maker


def holds_graphs(node: ir.Node) -> bool:
    """Whether an operator has bodies."""
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def is_seen_through(node: ir.Node) -> bool:
    """Whether an operator only rounds, restores, copies, or changes the type of real numbers."""
    test = SEEN_THROUGH.get(node.op_type)
    return test is not None and bool(node.inputs) and test(node)


def is_copy(node: ir.Node) -> bool:
    """An operator that gives what it reads."""
    return node.op_type in COPIES


def is_between_floats(node: ir.Node) -> bool:
    """A Cast from one type of real numbers to another."""
    read = node.inputs[0]
    target = ir.DataType(node.attributes.get_int("to", 0))
    return target in FLOATS and read is not None and read.dtype in FLOATS


SEEN_THROUGH: dict[str, Callable[[ir.Node], bool]] = {
    **dict.fromkeys((*COPIES, *ROUNDERS, *RESTORERS), lambda _: True),
    "Cast": is_between_floats,
}
