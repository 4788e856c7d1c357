"""Map each kernel of an optimized graph to the operators of the model that it computes.

Every operator and value of the model has a tag (``node_tags``). A kernel is located by its outputs
that have their names in the model. Where a runtime renamed them, as it does where it changes a
layout, the name of the kernel still contains a tag, or the reader of its result tells which value
of the model it is. A kernel then owns the operators on the way back from its values through the
model, up to values of other kernels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from packlight.model import graphs, nodes, producer_of
from packlight.profiling.counts import names
from packlight.profiling.expanded_graph import bodies_of
from packlight.profiling.node_tags import TaggedModel

LAYOUT_OPS = names("Transpose ReorderInput ReorderOutput Cast Reshape Squeeze Unsqueeze")
"""Operators that a runtime inserts to change layouts."""


class KernelMapping:
    """Kernels and operators of one model.

    Args:
        tagged: the model.
        optimized: the graph of kernels.
        loaded: operators that read only stored values; they have a kernel only where the runtime
            left one.

    Attributes:
        kernels: in the order they are listed, those in bodies included.
        kernel_of: by value of the model, the kernel that computes it.
        outputs: by kernel, the values of the model that it computes; none where it was inserted.
        members: by kernel, the operators that it computes.
        owner: by operator, the kernel that computes it; absent where none does.
        stored: names of values that are stored in the optimized graph.
        loaded: operators that are computed when the model is loaded.
    """

    def __init__(
        self, tagged: TaggedModel, optimized: ir.Model, loaded: Collection[ir.Node] = ()
    ) -> None:
        self.tagged = tagged
        self.loaded = set(loaded)
        self.kernels = list(nodes(optimized))
        self.order = {kernel: index for index, kernel in enumerate(self.kernels)}
        self.stored = {name for graph in graphs(optimized) for name in graph.initializers}
        self.kernel_of: dict[ir.Value, ir.Node] = {}
        self.outputs: dict[ir.Node, list[ir.Value]] = {kernel: [] for kernel in self.kernels}
        self.renamed: set[ir.Node] = set()
        self.members: dict[ir.Node, list[ir.Node]] = {kernel: [] for kernel in self.kernels}
        self.owner: dict[ir.Node, ir.Node] = {}
        sources = dict(self.behind_layout_ops())
        for kernel in self.kernels:
            self.place(kernel, sources)
        self.extend()
        for kernel in reversed(self.kernels):
            self.place_by_reader(kernel)
        for kernel in self.kernels:
            self.walk(kernel)
        self.loaded -= set(self.owner)
        self.fold()

    def is_inserted(self, kernel: ir.Node) -> bool:
        """Return whether a kernel only changes a layout, and does so for no operator."""
        if kernel.op_type not in LAYOUT_OPS:
            return False
        tagged = self.tagged.tagged(str(kernel.name))
        if tagged is not None and tagged[0].op_type == kernel.op_type:
            return False
        producer = producer_of(self.tagged.value(str(kernel.outputs[0].name)))
        if producer is None:
            return True
        source = kernel.inputs[0]
        known = source is not None and self.is_known(source)
        return producer.op_type != kernel.op_type and not known

    def is_known(self, value: ir.Value) -> bool:
        """Return whether a value has its name in the model, or is an input or stored."""
        return value.producer() is None or self.tagged.value(str(value.name)) is not None

    def behind_layout_ops(self) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Values whose layout inserted kernels change, with the matching values of the model."""
        for kernel in self.kernels:
            if not kernel.outputs or not kernel.inputs:
                continue
            output = self.tagged.value(str(kernel.outputs[0].name))
            source = kernel.inputs[0]
            if output is None or source is None or not self.is_inserted(kernel):
                continue
            if not self.is_known(source):
                yield source, output

    def place(self, kernel: ir.Node, sources: dict[ir.Value, ir.Value]) -> None:
        """Record the values of the model that a kernel computes, by names."""
        if self.is_inserted(kernel):
            return
        values = (
            self.tagged.value(str(value.name)) or sources.get(value) for value in kernel.outputs
        )
        exact = [value for value in values if value is not None]
        for value in exact or list(self.tagged_values(kernel)):
            self.record(value, kernel)
        if not exact:
            self.renamed.add(kernel)

    def record(self, value: ir.Value, kernel: ir.Node) -> None:
        """Record that a kernel computes a value of the model, if no other does."""
        if value not in self.kernel_of:
            self.kernel_of[value] = kernel
            self.outputs[kernel].append(value)

    def tagged_values(self, kernel: ir.Node) -> Iterator[ir.Value]:
        """Values whose tags the names of a kernel and its outputs contain."""
        for text in (str(kernel.name), *(str(value.name) for value in kernel.outputs)):
            tagged = self.tagged.tagged(text)
            if tagged is not None:
                node, value = tagged
                yield from (value,) if value is not None else node.outputs

    def extend(self) -> None:
        """Add operators without a kernel to the renamed kernel directly before them."""
        placed = {value.producer() for value in self.kernel_of}
        for kernel in self.kernels:
            placed.update(self.path_to_own_type(kernel))
        for node in self.tagged.operators:
            if node in placed or node.op_type == "DequantizeLinear" or bodies_of(node):
                continue
            sources = [
                self.kernel_of[v] for v in node.inputs if v in self.kernel_of and _is_read_once(v)
            ]
            renamed = [kernel for kernel in sources if kernel in self.renamed]
            if renamed and not self.is_stored(node):
                last = max(renamed, key=self.order.__getitem__)
                for value in node.outputs:
                    self.record(value, last)

    def is_stored(self, node: ir.Node) -> bool:
        """Return whether outputs of an operator are stored in the optimized graph."""
        return any(str(value.name) in self.stored for value in node.outputs)

    def place_by_reader(self, kernel: ir.Node) -> None:
        """Record a value of a kernel by the matching input of its reader in the model."""
        if self.outputs[kernel] or self.is_inserted(kernel):
            return
        for reader, index in (use for output in kernel.outputs for use in _readers_of(output)):
            for node in self.path_to_own_type(reader)[-1:]:
                if index >= len(node.inputs):
                    continue
                value = node.inputs[index]
                if value is not None and value.producer() and value not in self.kernel_of:
                    self.record(value, kernel)
                    return

    def path_to_own_type(self, kernel: ir.Node) -> list[ir.Node]:
        """Operators from a kernel's value back to the operator of the kernel's own type."""
        paths = [[value.producer()] for value in self.outputs[kernel]]
        for path in paths:
            node = path[-1]
            if node is None or path.count(node) > 1:
                continue
            if node.op_type in kernel.op_type:
                return [step for step in path if step is not None]
            inputs = [v for v in node.inputs if v and self.kernel_of.get(v, kernel) is kernel]
            paths += [[*path, value.producer()] for value in inputs]
        return []

    def walk(self, kernel: ir.Node) -> None:
        """Add operators to a kernel, from its values back to those of other kernels."""
        pending = [value.producer() for value in self.outputs[kernel]]
        while pending:
            node = pending.pop()
            if node is None or node in self.owner:
                continue
            self.owner[node] = kernel
            self.members[kernel].append(node)
            inputs = (value for value in node.inputs if value is not None)
            pending += [value.producer() for value in inputs if self.is_inside(value, kernel)]

    def is_inside(self, value: ir.Value, kernel: ir.Node) -> bool:
        """Return whether a kernel itself computes the input of one of its operators."""
        if self.kernel_of.get(value, kernel) is not kernel or str(value.name) in self.stored:
            return False
        return value.producer() not in self.loaded

    def fold(self) -> None:
        """Record operators without a kernel behind values stored in the optimized graph."""
        outputs = (value for node in self.tagged.operators for value in node.outputs)
        pending = [value.producer() for value in outputs if str(value.name) in self.stored]
        pending += [v.producer() for node in self.loaded for v in node.inputs if v is not None]
        while pending:
            node = pending.pop()
            if node is not None and node not in self.owner and node not in self.loaded:
                self.loaded.add(node)
                pending += [value.producer() for value in node.inputs if value is not None]

    def counts_for(self, kernel: ir.Node) -> ir.Node | None:
        """The kernel whose operators a kernel's time belongs to; None where there is none.

        The time of an inserted kernel belongs to the reader of its result, or else to its source.
        """
        candidates: list[ir.Node] = [kernel]
        for candidate in candidates:
            if self.outputs[candidate]:
                return candidate
            for value in candidate.outputs:
                candidates += [r for r, _ in _readers_of(value) if r not in candidates]
        sources = [value.producer() for value in kernel.inputs if value is not None]
        served = (self.counts_for(source) for source in sources if source is not None)
        return next(served, None)


def _is_read_once(value: ir.Value) -> bool:
    return len(list(value.uses())) == 1 and not value.is_graph_output()


def _readers_of(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    for use in value.uses():
        if use.node.op_type == "ReorderInput":
            yield from _readers_of(use.node.outputs[0])
        yield use.node, use.idx
