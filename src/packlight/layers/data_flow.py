"""The values a graph computes, with copies, casts, and quantize-dequantize pairs looked through.

A value that is quantized and dequantized, cast between floats, or copied is still the same value. A
value made of stored values alone is a weight, however it is unpacked. Each value has a root: the
result of an operator before rounding. The delivered value, which readers of a root get, is rounded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import onnx_ir as ir

from packlight.model import has_bodies, is_random, producer_of
from packlight.model.map_types import may_be_tensor

COPIES = frozenset({"Identity", "Dropout"})
ROUNDERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
RESTORERS = frozenset({"DequantizeLinear"})
FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16, None}
)
"""Types of real numbers; a value whose type is not known is taken to be one."""


def is_real(value: ir.Value) -> bool:
    """Test whether a value is a tensor of real numbers, and no sequence of such."""
    return value.dtype in FLOATS and may_be_tensor(value)


class Flow:
    """Roots and weights of a graph, operator bodies seen from outside.

    Args:
        model: the graph, with value types filled in as far as possible.

    Attributes:
        constant: values made of stored values alone.
        operators: of the main graph, computed at every run; those looked through are left out.
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
        """Record the outputs of an operator; the operators before it are recorded already."""
        self.values.update((str(value.name), value) for value in node.outputs if value.name)
        if self.is_constant(node):
            self.constant.update(node.outputs)
        elif _is_seen_through(node) and node.inputs[0] is not None:
            self.roots[node.outputs[0]] = self.root(node.inputs[0])
        else:
            self.operators.append(node)

    def is_constant(self, node: ir.Node) -> bool:
        """Return whether an operator gives equal outputs at every run."""
        if has_bodies(node) or is_random(node):
            return False
        return all(value is None or value in self.constant for value in node.inputs)

    def root(self, value: ir.Value) -> ir.Value:
        """The value before it was rounded or copied."""
        return self.roots.get(value, value)

    def data(self, node: ir.Node) -> list[ir.Value | None]:
        """Roots of an operator's computed inputs; None for stored and missing inputs."""
        inputs = (None if value in self.constant else value for value in node.inputs)
        return [value and self.root(value) for value in inputs]

    def weights(self, node: ir.Node) -> Iterator[tuple[int, ir.Value]]:
        """Constant inputs of an operator, with their input index."""
        for index, value in enumerate(node.inputs):
            if value is not None and value in self.constant:
                yield index, value

    def reads(self, root: ir.Value) -> Iterator[tuple[ir.Node, int, ir.Value]]:
        """Operators that read a root, in bodies too, with the input index and the value read."""
        for value in self.chains[root]:
            for use in value.uses():
                if not self.passes(use.node):
                    yield use.node, use.idx, value

    def passes(self, node: ir.Node) -> bool:
        """Return whether a reader of a value is itself looked through."""
        return bool(node.outputs) and node.outputs[0] in self.roots

    def delivered(self, root: ir.Value) -> ir.Value:
        """The value that most readers of a root get; for a model output, the output itself."""
        read_counts = Counter(
            value
            for node, _, value in self.reads(root)
            if is_real(value) and node.op_type not in ROUNDERS
        )
        for value in self.chains[root]:
            if value.is_graph_output():
                return value
        if not read_counts:
            return root
        order = {value: index for index, value in enumerate(self.chains[root])}
        return max(read_counts, key=lambda value: (read_counts[value], order[value]))

    def rounders(self, root: ir.Value) -> Iterator[tuple[ir.Node, ir.Node]]:
        """Pairs of QuantizeLinear and DequantizeLinear between a root and its readers."""
        for value in self.chains[root]:
            dequantizer = value.producer()
            if dequantizer is None or dequantizer.op_type not in RESTORERS:
                continue
            quantizer = producer_of(dequantizer.inputs[0])
            if quantizer is not None and quantizer.op_type in ROUNDERS:
                yield quantizer, dequantizer


def _is_seen_through(node: ir.Node) -> bool:
    condition = SEEN_THROUGH.get(node.op_type)
    return condition is not None and bool(node.inputs) and condition(node)


def _is_copy(node: ir.Node) -> bool:
    return node.op_type in COPIES


def _is_between_floats(node: ir.Node) -> bool:
    source = node.inputs[0]
    target = ir.DataType(node.attributes.get_int("to", 0))
    return target in FLOATS and source is not None and source.dtype in FLOATS


SEEN_THROUGH: dict[str, Callable[[ir.Node], bool]] = {
    **dict.fromkeys((*COPIES, *ROUNDERS, *RESTORERS), lambda _: True),
    "Cast": _is_between_floats,
}
