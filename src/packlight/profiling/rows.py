"""What each operator of a model costs, from the counts of the operators that it becomes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from packlight.model import Model, nodes, stored_tensor
from packlight.profiling.counting import Counter, operator_type, shape
from packlight.profiling.expanded_graph import Expanded
from packlight.profiling.parameters import parameters_of
from packlight.profiling.source_lines import source_of
from packlight.profiling.stand_ins import is_added, is_replaced
from packlight.records import OperatorCost


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Values that a row reads and gives.

    Attributes:
        read: computed at every run, or inputs of the model.
        held: the same at every run.
        given: what the row gives.
    """

    read: tuple[ir.Value, ...]
    held: tuple[ir.Value, ...]
    given: tuple[ir.Value, ...]


class Rows:
    """The operators of a model with their costs.

    Args:
        model: the model.
        expanded: the same with calls written out.
        counter: the arithmetic of its operators.
        constant: its values that are the same at every run.

    Attributes:
        unknown: operators that could not be counted, with why.
        loaded: values read at a run that are the same at each.
        stored_bytes: of each stored value of the rows so far, by its identity.
        parameters: of each of them, the numbers which training found.
    """

    def __init__(
        self, model: Model, expanded: Expanded, counter: Counter, constant: set[ir.Value]
    ) -> None:
        self.model, self.counter, self.constant = model, counter, constant
        self.graph = expanded.graph.graph
        self.stored = set(model.graph.graph.initializers)
        self.unknown: list[str] = []
        self.loaded: set[ir.Value] = set()
        self.stored_bytes: dict[int, int] = {}
        self.parameters: dict[int, int] = {}
        self.parts: dict[ir.Node, list[ir.Node]] = defaultdict(list)
        for part, origin in expanded.origin.items():
            self.parts[origin].append(part)

    def costs(self) -> Iterator[OperatorCost]:
        """A row for each operator, in the order they run."""
        for node in nodes(self.model.graph):
            weights = weights_of(node)
            shared = not self.stored_bytes.keys().isdisjoint(weights)
            self.stored_bytes |= {key: tensor.nbytes for key, tensor in weights.items()}
            yield self.cost(node, weights, shared=shared)

    def cost(self, node: ir.Node, weights: Weights, *, shared: bool) -> OperatorCost:
        """What one operator costs."""
        trained = parameters_of(node, weights, lambda: self.given(node))
        self.parameters |= trained
        parts = self.parts[node]
        active = [part for part in parts if self.counter.runs[part]]
        runs = max((self.counter.runs[part] for part in parts), default=0)
        moved = self.moved(node, active)
        self.loaded.update(moved.held)
        held = runs * sum(bytes_of(value) or 0 for value in moved.held)
        read, given = (summed(runs, side) for side in (moved.read, moved.given))
        both = None if read is None or given is None else read + given
        macs, other = self.arithmetic(node, active)
        return OperatorCost(
            name=str(node.name),
            op=operator_type(node),
            macs=macs,
            other_ops=other,
            parameters=sum(trained.values()),
            weight_bytes=sum(tensor.nbytes for tensor in weights.values()),
            loaded_bytes=held,
            activation_bytes_in=read,
            activation_bytes_out=given,
            activation_bytes=both,
            intensity=intensity(macs, held, both),
            runs=runs,
            at_load=bool(parts) and all(self.is_constant(part) for part in parts),
            shared=shared,
            source=source_of(node),
        )

    def given(self, node: ir.Node) -> int | None:
        """How many numbers an operator gives, without padding; None where that is not known."""
        given = unpadded(node.outputs[0]) if node.outputs else None
        sizes = None if given is None else shape(self.counter.values.get(str(given.name)))
        return None if sizes is None else math.prod(sizes)

    def arithmetic(self, node: ir.Node, active: list[ir.Node]) -> tuple[int | None, int | None]:
        """Multiply-accumulates and other operations in one run of the model."""
        why = sorted({self.counter.why[part] for part in active if part in self.counter.why})
        if why:
            self.unknown.append(f"{node.name}: {'; '.join(why)}")
            return None, None
        works = [(self.counter.work[part], self.counter.runs[part]) for part in active]
        self.counter.notes.extend(
            f"{operator_type(node)} '{node.name}': {work.note}" for work, _ in works if work.note
        )
        return sum(w.macs * n for w, n in works), sum(w.other_ops * n for w, n in works)

    def is_constant(self, part: ir.Node) -> bool:
        """Whether an operator gives the same at every run."""
        return all(value in self.constant for value in part.outputs)

    def moved(self, node: ir.Node, active: list[ir.Node]) -> Moved:
        """What an operator reads and gives at a run."""
        own = {value for part in active for value in part.outputs}
        values = self.counter.values
        if is_replaced(node) and active:
            read = [values[str(v.name)] for v in node.inputs if v and str(v.name) in values]
        else:
            read = [value for part in active for value in part.inputs if value is not None]
        outside = dict.fromkeys(value for value in read if value not in own)
        single = len(active) == 1
        given = [v for v in own if v.name and (single or leaves(v, active))]
        held = {value for value in outside if value in self.constant or value.name in self.stored}
        read = [value for value in outside if value not in held]
        return Moved(tuple(read), tuple(held), tuple(given))

    def running(self) -> Iterator[ir.Node]:
        """Operators that give something at a run: of stand-ins for one, all or none."""
        runs = self.counter.runs
        for node, parts in self.parts.items():
            together = is_replaced(node) and any(runs[part] for part in parts)
            yield from (part for part in parts if together or runs[part])

    def sizes(self) -> dict[ir.Value, int] | None:
        """Bytes of every value that needs memory at a run; None where one is not known."""
        fed = [value for value in self.graph.inputs if value not in self.constant]
        made = [v for part in self.running() for v in part.outputs if v.name]
        own = [v for v in (*fed, *made) if v.name not in self.stored and not is_added(v)]
        sizes = {value: bytes_of(value) for value in own}
        known = {value: size for value, size in sizes.items() if size is not None}
        return known if len(known) == len(sizes) else None


def unpadded(value: ir.Value) -> ir.Value:
    """What is left of a value once padding of its last block is cut off."""
    readers = value.consumers()
    cuts = len(readers) == 1 and readers[0].op_type in ("Reshape", "Slice")
    return unpadded(readers[0].outputs[0]) if cuts else value


def leaves(value: ir.Value, active: list[ir.Node]) -> bool:
    """Whether a value is read outside the operators that make up a row."""
    return value.is_graph_output() or any(use.node not in active for use in value.uses())


Weights = dict[int, ir.TensorProtocol]
"""Stored tensors by the identity of their value."""


def weights_of(node: ir.Node) -> Weights:
    """What an operator reads that is stored, in a Constant too."""
    read = {id(v): stored_tensor(v) for v in node.inputs if v is not None}
    return {key: tensor for key, tensor in read.items() if tensor is not None}


def bytes_of(value: ir.Value) -> int | None:
    """Bytes of a value; float32 where its type is not stated."""
    sizes = shape(value)
    if sizes is None:
        return None
    dtype = value.dtype or ir.DataType.FLOAT
    return 0 if dtype == ir.DataType.STRING else math.ceil(math.prod(sizes) * dtype.itemsize)


def summed(runs: int, values: Iterable[ir.Value]) -> int | None:
    """Bytes of values in all runs; None where one is not known."""
    sizes = [bytes_of(value) for value in values]
    known = [size for size in sizes if size is not None]
    return runs * sum(known) if len(known) == len(sizes) else None


def intensity(macs: int | None, held: int, activations: int | None) -> float | None:
    """Multiply-accumulates for each byte moved, where both are known."""
    if macs is None or activations is None or not held + activations:
        return None
    return macs / (held + activations)
