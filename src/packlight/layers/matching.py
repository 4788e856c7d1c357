"""Match the values of a variant with those of its reference.

Names come first where the two graphs agree in them: a tool that keeps tensor names keeps their
meaning. Structure gives the remaining matches: an operator of the same type that reads matched
values gives matched values; matched operators read matched values; similar weights are read by the
same operator. Where an operator of the variant absorbed those behind it, such as a batch
normalization, its output is matched with the last of these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.data_flow import Flow

TRUSTED = 0.5
"""Share of equal names on operators of equal type from which on names are trusted."""

ABSORBED = frozenset({"BatchNormalization", "Relu", "Clip", "Add", "Mul"})
"""Operators that tools fold into the operator before them."""

CLOSE = 0.9
"""Cosine from which on two weights count as the same weight, compressed."""

UNORDERED = frozenset({"Add", "Mul", "Max", "Min", "Sum"})
Weights = dict[ir.Value, NDArray[np.float64]]
"""Sampled numbers of each weight, enough to tell weights apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Two graphs and their correspondence.

    Attributes:
        reference: flow of the original.
        variant: flow of the compressed model.
        values: root of the reference -> root of the variant, in the order of the reference.
        operators: operator of the reference -> operator of the variant, of the same type.
    """

    reference: Flow
    variant: Flow
    values: dict[ir.Value, ir.Value]
    operators: dict[ir.Node, ir.Node]


class Matcher:
    """Matches values and operators of two graphs.

    Args:
        reference: flow of the original.
        variant: flow of the compressed model.
        prints: sampled numbers of every weight that an operator of either graph reads.
    """

    def __init__(self, reference: Flow, variant: Flow, prints: Weights) -> None:
        self.reference = reference
        self.variant = variant
        self.prints = prints
        self.values: dict[ir.Value, ir.Value] = {}
        self.back: dict[ir.Value, ir.Value] = {}
        self.operators: dict[ir.Node, ir.Node] = {}
        self.matched_nodes: set[ir.Node] = set()

    def run(self) -> Matched:
        """Match by names, then by structure until nothing is added."""
        for side in ("inputs", "outputs"):
            theirs = {str(value.name): value for value in getattr(self.variant.graph, side)}
            for value in getattr(self.reference.graph, side):
                if str(value.name) in theirs:
                    self.pair_values(value, theirs[str(value.name)])
        self.by_name()
        for step in (self.forward, self.backward, self.by_weight):
            while step() and self.settle():
                pass
        self.settle()
        order = {value: index for index, value in enumerate(self.reference.values.values())}
        ordered = sorted(self.values, key=lambda value: order.get(value, 0))
        values = {value: self.values[value] for value in ordered}
        return Matched(self.reference, self.variant, values, self.operators)

    def settle(self) -> bool:
        """Follow structure forwards and backwards until nothing is added."""
        while self.forward() or self.backward():
            pass
        return True

    def pair_values(self, ours: ir.Value, theirs: ir.Value) -> bool:
        """Record a match, unless one of the values has a counterpart already."""
        reference_root = self.reference.root(ours)
        variant_root = self.variant.root(theirs)
        if reference_root in self.reference.constant or variant_root in self.variant.constant:
            return False
        if reference_root in self.values or variant_root in self.back:
            return False
        self.values[reference_root] = variant_root
        self.back[variant_root] = reference_root
        return True

    def pair_operators(self, ours: ir.Node, theirs: ir.Node) -> bool:
        """Record the match of two operators and of their outputs."""
        if ours in self.operators or theirs in self.matched_nodes:
            return False
        self.operators[ours] = theirs
        self.matched_nodes.add(theirs)
        for our_output, their_output in zip(ours.outputs, theirs.outputs, strict=False):
            if our_output.name and their_output.name:
                self.pair_values(self.followed(our_output, their_output), their_output)
        return True

    def followed(self, ours: ir.Value, theirs: ir.Value) -> ir.Value:
        """Follow a value of the reference through the operators that the variant folded away."""
        readers = {node.op_type for node, _, _ in self.variant.reads(self.variant.root(theirs))}
        for _ in ABSORBED:
            uses = list(self.reference.reads(self.reference.root(ours)))
            if len(uses) != 1 or ours.is_graph_output():
                break
            node = uses[0][0]
            inputs = [v for v in self.reference.data(node) if v is not None]
            if node.op_type not in ABSORBED or node.op_type in readers or len(inputs) != 1:
                break
            ours = node.outputs[0]
        return ours

    def by_name(self) -> None:
        """Match values of equal name, if names mean the same in both graphs."""
        named = [
            (ours, self.variant.values[name])
            for name, ours in self.reference.values.items()
            if name in self.variant.values and ours.producer() is not None
        ]
        same_kind = [kind(ours) == kind(theirs) for ours, theirs in named]
        if not named or np.mean(same_kind) < TRUSTED:
            return
        our_operators = set(self.reference.operators)
        their_operators = set(self.variant.operators)
        for (ours, theirs), same in zip(named, same_kind, strict=True):
            if self.reference.root(ours) is ours and self.variant.root(theirs) is theirs:
                self.pair_values(ours, theirs)
                our_node = ours.producer()
                their_node = theirs.producer()
                if same and our_node in our_operators and their_node in their_operators:
                    self.pair_operators(our_node, their_node)

    def forward(self) -> bool:
        """Match operators that read the same values."""
        waiting: dict[tuple[object, ...], list[ir.Node]] = defaultdict(list)
        for node in self.reference.operators:
            key = self.input_key(self.reference, node, self.values)
            if node not in self.operators and key is not None:
                waiting[key].append(node)
        changed = False
        theirs: dict[tuple[object, ...], list[ir.Node]] = defaultdict(list)
        for node in self.variant.operators:
            key = self.input_key(self.variant, node, {value: value for value in self.back})
            if node not in self.matched_nodes and key is not None:
                theirs[key].append(node)
        for key, candidates in theirs.items():
            for ours, counterpart in self.best(waiting.get(key, []), candidates):
                changed = self.pair_operators(ours, counterpart) or changed
        return changed

    def input_key(
        self, flow: Flow, node: ir.Node, names: dict[ir.Value, ir.Value]
    ) -> tuple[object, ...] | None:
        """Type and matched inputs of an operator; None where some are not matched."""
        data = flow.data(node)
        if not any(value is not None for value in data):
            return None
        if any(value is not None and value not in names for value in data):
            return None
        input_ids = [id(names[value]) if value is not None else 0 for value in data]
        while input_ids and input_ids[-1] == 0:
            input_ids.pop()
        if node.op_type in UNORDERED:
            input_ids.sort()
        return node.domain, node.op_type, *input_ids

    def best(self, ours: list[ir.Node], theirs: list[ir.Node]) -> Iterator[tuple[ir.Node, ir.Node]]:
        """Pair operators: by weight similarity where there are several, else in their order."""
        if len(ours) == 1 and len(theirs) == 1:
            yield ours[0], theirs[0]
            return
        candidates = list(theirs)
        for node in ours:
            likeness = [self.likeness(node, candidate) for candidate in candidates]
            if not candidates:
                return
            closest = int(np.argmax(likeness))
            yield node, candidates.pop(closest)

    def backward(self) -> bool:
        """Match the inputs of matched operators, and operators with matched outputs."""
        changed = False
        for our_value, their_value in list(self.values.items()):
            ours = our_value.producer()
            theirs = their_value.producer()
            if ours is None or theirs is None or kind(our_value) != kind(their_value):
                continue
            if ours not in self.operators and theirs not in self.matched_nodes:
                self.operators[ours] = theirs
                self.matched_nodes.add(theirs)
        for ours, theirs in list(self.operators.items()):
            for pair in self.inputs(ours, theirs):
                changed = self.pair_values(*pair) or changed
        return changed

    def inputs(self, ours: ir.Node, theirs: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Computed inputs of two matched operators that must be the same values."""
        our_inputs = self.reference.data(ours)
        their_inputs = self.variant.data(theirs)
        if ours.op_type in UNORDERED:
            our_inputs = [v for v in our_inputs if v is not None and v not in self.values]
            their_inputs = [v for v in their_inputs if v is not None and v not in self.back]
            if len(our_inputs) != 1 or len(their_inputs) != 1:
                return
        if sum(v is not None for v in our_inputs) != sum(v is not None for v in their_inputs):
            return
        for ours_read, theirs_read in zip(our_inputs, their_inputs, strict=False):
            if ours_read is not None and theirs_read is not None:
                yield ours_read, theirs_read

    def by_weight(self) -> bool:
        """Match operators of one type that are each other's only ones with similar weights."""
        ours = [node for node in self.reference.operators if node not in self.operators]
        theirs = [node for node in self.variant.operators if node not in self.matched_nodes]
        changed = False
        for node in ours:
            similar = [candidate for candidate in theirs if self.likeness(node, candidate) >= CLOSE]
            if len(similar) == 1 and similar[0] not in self.matched_nodes:
                changed = self.pair_operators(node, similar[0]) or changed
        return changed

    def likeness(self, ours: ir.Node, theirs: ir.Node) -> float:
        """Cosine of the weights of two operators of one type; 0 where they cannot match."""
        if (ours.domain, ours.op_type) != (theirs.domain, theirs.op_type):
            return 0.0
        our_weights = [self.prints[v] for _, v in self.reference.weights(ours) if v in self.prints]
        their_weights = [
            self.prints[v] for _, v in self.variant.weights(theirs) if v in self.prints
        ]
        pairs = [
            (a, b) for a, b in zip(our_weights, their_weights, strict=False) if a.shape == b.shape
        ]
        return max((cosine(a, b) for a, b in pairs), default=0.0)


def kind(value: ir.Value) -> tuple[str, str]:
    """Domain and type of the operator that gives a value; empty for an input."""
    producer = value.producer()
    if producer is None:
        return ("", "")
    return (producer.domain, producer.op_type)


def cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Cosine of two vectors; 0 where one is all zeros."""
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    if length == 0:
        return 0.0
    return float(first @ second) / length
