"""A graph of which operators become one kernel: what rules of fusion read and write."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import onnx_ir as ir

from packlight.profiling.counts import names
from packlight.profiling.shape_values import sizes_of

SCALES = names("Mul Div")


class Fusion:
    """The operators of a graph as kernels.

    Args:
        active: operators that run, in their order.
        constant: values that are the same at every run.
        fixed: whether the model itself says all shapes.

    Attributes:
        gone: operators that have no kernel of their own.
        integer: operators that compute in codes.
        named: type of operator that a fused group becomes, by its last operator.
        read: further values that a kernel reads for what is fused into it.
        last: what a kernel gives in the end, where that is not its own output.
    """

    def __init__(
        self, active: list[ir.Node], constant: Collection[ir.Value], *, fixed: bool
    ) -> None:
        self.active, self.constant, self.fixed = active, constant, fixed
        self.running = {node: place for place, node in enumerate(active)}
        self.gone: set[ir.Node] = set()
        self.integer: set[ir.Node] = set()
        self.named: dict[ir.Node, str] = {}
        self.read: dict[ir.Node, list[ir.Value]] = {}
        self.last: dict[ir.Node, ir.Value] = {}

    def stored(self, value: ir.Value | None) -> bool:
        """Whether a value is the same at every run, restored codes of a weight too."""
        if value is None or value in self.constant:
            return True
        maker = value.producer()
        restored = maker is not None and maker.op_type == "DequantizeLinear"
        return restored and maker is not None and maker.inputs[0] in self.constant

    def computed(self, node: ir.Node) -> list[ir.Value]:
        """What an operator reads that is not stored."""
        return [value for value in node.inputs if value is not None and not self.stored(value)]

    def only_reader(self, value: ir.Value) -> ir.Node | None:
        """The one operator that reads a value, if it is one."""
        readers = {use.node for use in value.uses()}
        if value.is_graph_output() or len(readers) != 1:
            return None
        reader = readers.pop()
        return reader if reader in self.running and reader not in self.gone else None

    def alone(self, value: ir.Value | None, *ops: str) -> ir.Node | None:
        """What makes a value that nobody else reads, if it is one of these operators."""
        maker = None if value is None else value.producer()
        if maker is None or maker.op_type not in ops or maker in self.gone:
            return None
        return maker if value is not None and self.only_reader(value) is not None else None

    def source(self, value: ir.Value) -> ir.Value:
        """What a kernel reads for a value: its codes where they are not restored."""
        maker = value.producer()
        restores = maker is not None and maker in self.gone and maker.op_type == "DequantizeLinear"
        codes = maker.inputs[0] if maker is not None and restores else None
        return value if codes is None else codes

    def result(self, node: ir.Node) -> ir.Value:
        """What a kernel gives."""
        return self.last.get(node, node.outputs[0])

    def absorb(self, head: ir.Node, reader: ir.Node) -> None:
        """Let a kernel compute what follows it as well."""
        self.gone.add(reader)
        before = self.result(head)
        self.last[head] = reader.outputs[0]
        self.read.setdefault(head, []).extend(
            value for value in self.computed(reader) if value is not before
        )


def alike(node: ir.Node) -> bool:
    """Whether all that an operator reads has one shape."""
    return len({sizes_of(v) for v in node.inputs if v is not None}) == 1


def is_factor(node: ir.Node, found: Fusion) -> bool:
    """Whether an operator multiplies or divides by one stored number."""
    if node.op_type not in SCALES:
        return False
    stored = [sizes_of(value) for value in node.inputs if value and found.stored(value)]
    return len(stored) == 1 and stored[0] is not None and math.prod(stored[0]) == 1


def become(found: Fusion, named: str, last: ir.Node, *inner: ir.Node) -> None:
    """Let a group of operators be one kernel, at the place of its last."""
    found.gone.update(inner)
    found.named[last] = named


def kept(found: Fusion) -> Iterator[ir.Node]:
    """Operators that have a kernel of their own, in order."""
    return (node for node in found.active if node not in found.gone)
