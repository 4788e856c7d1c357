"""The cost of each operator of a model, summed over the operators that it expands to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from packlight.model import Model, content_bytes, nodes, number_bytes, operator_type, stored_tensor
from packlight.profiling.counting import Counter
from packlight.profiling.expanded_graph import Expanded
from packlight.profiling.parameters import parameters_of
from packlight.profiling.shape_values import sizes_of
from packlight.profiling.source_lines import source_of
from packlight.profiling.stand_ins import is_added, is_replaced
from packlight.records import OperatorCost


@dataclass(frozen=True, slots=True, eq=False)
class MovedValues:
    """Values that a row reads and gives.

    Attributes:
        inputs: computed at every run, or inputs of the model.
        constants: equal at every run.
        outputs: values that the row gives.
    """

    inputs: tuple[ir.Value, ...]
    constants: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]


MOST_NAMES = 3
"""Operators of one reason that are named; the others are counted."""


def _first_names(names: Sequence[str]) -> str:
    named = ", ".join(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        return f"{named} and {len(names) - MOST_NAMES} more"
    return named


class Rows:
    """The operators of a model with their costs.

    Args:
        model: the model.
        expanded: the model with functions inlined.
        counter: the arithmetic of its operators.
        constant: its values that are equal at every run.

    Attributes:
        unknown: names of operators that could not be counted, by the reason.
        loaded: values read at a run that are equal at each.
        stored_bytes: of each stored value of the rows so far, by its identity.
        parameters: trained numbers in each of them.
    """

    def __init__(
        self, model: Model, expanded: Expanded, counter: Counter, constant: set[ir.Value]
    ) -> None:
        self.model = model
        self.counter = counter
        self.constant = constant
        self.graph = expanded.graph.graph
        self.stored = set(model.graph.graph.initializers)
        self.unknown: dict[str, list[str]] = defaultdict(list)
        self.loaded: set[ir.Value] = set()
        self.stored_bytes: dict[int, int] = {}
        self.parameters: dict[int, int] = {}
        self.parts: dict[ir.Node, list[ir.Node]] = defaultdict(list)
        for part, origin in expanded.origin.items():
            self.parts[origin].append(part)

    def costs(self) -> Iterator[OperatorCost]:
        """A row for each operator, in the order they run."""
        for node in nodes(self.model.graph):
            weights = _weights_of(node)
            shared = not self.stored_bytes.keys().isdisjoint(weights)
            self.stored_bytes |= {key: content_bytes(tensor) for key, tensor in weights.items()}
            yield self.cost(node, weights, shared=shared)

    def cost(self, node: ir.Node, weights: Weights, *, shared: bool) -> OperatorCost:
        """Count the cost of one operator."""
        trained = parameters_of(node, weights, lambda: self.output_numbers(node))
        self.parameters |= trained
        parts = self.parts[node]
        active = [part for part in parts if self.counter.runs[part]]
        runs = max((self.counter.runs[part] for part in parts), default=0)
        moved = self.moved(node, active)
        self.loaded.update(moved.constants)
        loaded_bytes = runs * sum(bytes_of(value) or 0 for value in moved.constants)
        bytes_in = _total_bytes(runs, moved.inputs)
        bytes_out = _total_bytes(runs, moved.outputs)
        activation_bytes = None
        if bytes_in is not None and bytes_out is not None:
            activation_bytes = bytes_in + bytes_out
        macs, other_ops = self.arithmetic(node, active)
        return OperatorCost(
            name=str(node.name),
            op=operator_type(node),
            macs=macs,
            other_ops=other_ops,
            parameters=sum(trained.values()),
            weight_bytes=sum(content_bytes(tensor) for tensor in weights.values()),
            loaded_bytes=loaded_bytes,
            activation_bytes_in=bytes_in,
            activation_bytes_out=bytes_out,
            activation_bytes=activation_bytes,
            intensity=intensity(macs, loaded_bytes, activation_bytes),
            runs=runs,
            at_load=bool(parts) and all(self.is_constant(part) for part in parts),
            shared=shared,
            source=source_of(node),
        )

    def output_numbers(self, node: ir.Node) -> int | None:
        """Numbers that an operator gives, without padding; None where their count is unknown."""
        if not node.outputs:
            return None
        name = str(_unpadded(node.outputs[0]).name)
        sizes = sizes_of(self.counter.values.get(name))
        if sizes is None:
            return None
        return math.prod(sizes)

    def arithmetic(self, node: ir.Node, active: list[ir.Node]) -> tuple[int | None, int | None]:
        """Multiply-accumulates and other operations in one run of the model."""
        reasons = sorted({self.counter.why[part] for part in active if part in self.counter.why})
        if reasons:
            self.unknown["; ".join(reasons)].append(str(node.name))
            return None, None
        macs = 0
        other_ops = 0
        for part in active:
            work = self.counter.work[part]
            macs += work.macs * self.counter.runs[part]
            other_ops += work.other_ops * self.counter.runs[part]
            if work.note:
                self.counter.notes.append(f"{operator_type(node)} '{node.name}': {work.note}")
        return macs, other_ops

    def unknown_by_reason(self) -> tuple[str, ...]:
        """Operators that could not be counted: a sentence for each reason."""
        return tuple(f"{_first_names(names)}: {reason}" for reason, names in self.unknown.items())

    def is_constant(self, part: ir.Node) -> bool:
        """Return whether an operator gives equal outputs at every run."""
        return all(value in self.constant for value in part.outputs)

    def moved(self, node: ir.Node, active: list[ir.Node]) -> MovedValues:
        """Values that an operator reads and gives at a run."""
        results = {value for part in active for value in part.outputs}
        values = self.counter.values
        if is_replaced(node) and active:
            read = [values[str(v.name)] for v in node.inputs if v and str(v.name) in values]
        else:
            read = [value for part in active for value in part.inputs if value is not None]
        external = dict.fromkeys(value for value in read if value not in results)
        single = len(active) == 1
        outputs = [v for v in results if v.name and (single or _is_read_outside(v, active))]
        constants = {v for v in external if v in self.constant or v.name in self.stored}
        inputs = [value for value in external if value not in constants]
        return MovedValues(tuple(inputs), tuple(constants), tuple(outputs))

    def running(self) -> Iterator[ir.Node]:
        """Operators that run; the stand-ins of one original run all or none."""
        runs = self.counter.runs
        for node, parts in self.parts.items():
            together = is_replaced(node) and any(runs[part] for part in parts)
            yield from (part for part in parts if together or runs[part])

    def sizes(self) -> dict[ir.Value, int] | None:
        """Bytes of every value that needs memory at a run; None where one is not known."""
        inputs = [value for value in self.graph.inputs if value not in self.constant]
        results = [value for part in self.running() for value in part.outputs if value.name]
        sizes: dict[ir.Value, int] = {}
        for value in (*inputs, *results):
            if value.name in self.stored or is_added(value):
                continue
            size = bytes_of(value)
            if size is None:
                return None
            sizes[value] = size
        return sizes


def _unpadded(value: ir.Value) -> ir.Value:
    readers = value.consumers()
    if len(readers) == 1 and readers[0].op_type in ("Reshape", "Slice"):
        return _unpadded(readers[0].outputs[0])
    return value


def _is_read_outside(value: ir.Value, active: list[ir.Node]) -> bool:
    return value.is_graph_output() or any(use.node not in active for use in value.uses())


Weights = dict[int, ir.TensorProtocol]
"""Stored tensors by the identity of their value."""


def _weights_of(node: ir.Node) -> Weights:
    weights = {}
    for value in node.inputs:
        tensor = stored_tensor(value)
        if tensor is not None:
            weights[id(value)] = tensor
    return weights


def bytes_of(value: ir.Value) -> int | None:
    """Bytes of a value; float32 where its type is not stated."""
    sizes = sizes_of(value)
    if sizes is None:
        return None
    return math.ceil(math.prod(sizes) * number_bytes(value.dtype or ir.DataType.FLOAT))


def _total_bytes(runs: int, values: Iterable[ir.Value]) -> int | None:
    """Bytes of values in all runs; None where one is not known."""
    total = 0
    for value in values:
        size = bytes_of(value)
        if size is None:
            return None
        total += size
    return runs * total


def intensity(macs: int | None, loaded: int, activations: int | None) -> float | None:
    """Multiply-accumulates for each byte moved, where both are known."""
    if macs is None or activations is None or not loaded + activations:
        return None
    return macs / (loaded + activations)
