"""Which value of a variant is which value of its reference.

Names come first where the two graphs agree in them: a tool that keeps the names of tensors keeps
their meaning. The rest follows from the structure: an operator of the same type that reads what is
matched gives what is matched; operators that are matched read what is matched; a weight that is
nearly the same is read by the same operator. What an operator of the variant took over from the
operators behind it, as a batch normalisation, is followed to the value that it now gives.
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
"""Share of equal names on operators of equal type from which on names are believed."""

ABSORBED = frozenset({"BatchNormalization", "Relu", "Clip", "Add", "Mul"})
"""Operators that a tool folds into the one before them."""

CLOSE = 0.9
"""Cosine from which on two weights are taken to be the same, compressed."""

UNORDERED = frozenset({"Add", "Mul", "Max", "Min", "Sum"})
Weights = dict[ir.Value, NDArray[np.float64]]
"""Some numbers of each weight, enough to tell one from another."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Two graphs and what corresponds.

    Attributes:
        reference: the one.
        variant: the other.
        values: root of the reference -> root of the variant, in the order of the reference.
        operators: operator of the reference -> operator of the variant, of the same type.
    """

    reference: Flow
    variant: Flow
    values: dict[ir.Value, ir.Value]
    operators: dict[ir.Node, ir.Node]


class Matcher:
    """Finds what corresponds.

    Args:
        reference: the one graph.
        variant: the other.
        prints: some numbers of every weight of both that an operator reads.
    """

    def __init__(self, reference: Flow, variant: Flow, prints: Weights) -> None:
        self.reference, self.variant, self.prints = reference, variant, prints
        self.values: dict[ir.Value, ir.Value] = {}
        self.back: dict[ir.Value, ir.Value] = {}
        self.operators: dict[ir.Node, ir.Node] = {}
        self.taken: set[ir.Node] = set()

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
        order = {value: place for place, value in enumerate(self.reference.values.values())}
        known = sorted(self.values, key=lambda value: order.get(value, 0))
        values = {value: self.values[value] for value in known}
        return Matched(self.reference, self.variant, values, self.operators)

    def settle(self) -> bool:
        """Follow structure forwards and backwards until nothing is added."""
        while self.forward() or self.backward():
            pass
        return True

    def pair_values(self, ours: ir.Value, theirs: ir.Value) -> bool:
        """Note that two values are the same, where neither has another counterpart."""
        one, other = self.reference.root(ours), self.variant.root(theirs)
        if one in self.reference.constant or other in self.variant.constant:
            return False
        if one in self.values or other in self.back:
            return False
        self.values[one], self.back[other] = other, one
        return True

    def pair_operators(self, ours: ir.Node, theirs: ir.Node) -> bool:
        """Note that two operators are the same, and what they give."""
        if ours in self.operators or theirs in self.taken:
            return False
        self.operators[ours] = theirs
        self.taken.add(theirs)
        for one, other in zip(ours.outputs, theirs.outputs, strict=False):
            if one.name and other.name:
                self.pair_values(self.followed(one, other), other)
        return True

    def followed(self, ours: ir.Value, theirs: ir.Value) -> ir.Value:
        """What a value of the reference becomes in operators that the variant folded away."""
        readers = {node.op_type for node, _, _ in self.variant.reads(self.variant.root(theirs))}
        for _ in ABSORBED:
            found = list(self.reference.reads(self.reference.root(ours)))
            if len(found) != 1 or ours.is_graph_output():
                break
            node = found[0][0]
            others = [v for v in self.reference.data(node) if v is not None]
            if node.op_type not in ABSORBED or node.op_type in readers or len(others) != 1:
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
        alike = [kind(ours) == kind(theirs) for ours, theirs in named]
        if not named or np.mean(alike) < TRUSTED:
            return
        ours_run, theirs_run = set(self.reference.operators), set(self.variant.operators)
        for (ours, theirs), same in zip(named, alike, strict=True):
            if self.reference.root(ours) is ours and self.variant.root(theirs) is theirs:
                self.pair_values(ours, theirs)
                one, other = ours.producer(), theirs.producer()
                if same and one in ours_run and other in theirs_run:
                    self.pair_operators(one, other)

    def forward(self) -> bool:
        """Match operators that read the same."""
        waiting: dict[tuple[object, ...], list[ir.Node]] = defaultdict(list)
        for node in self.reference.operators:
            key = self.reads_as(self.reference, node, self.values)
            if node not in self.operators and key is not None:
                waiting[key].append(node)
        changed = False
        theirs: dict[tuple[object, ...], list[ir.Node]] = defaultdict(list)
        for node in self.variant.operators:
            key = self.reads_as(self.variant, node, {value: value for value in self.back})
            if node not in self.taken and key is not None:
                theirs[key].append(node)
        for key, found in theirs.items():
            for ours, other in self.best(waiting.get(key, []), found):
                changed = self.pair_operators(ours, other) or changed
        return changed

    def reads_as(
        self, flow: Flow, node: ir.Node, names: dict[ir.Value, ir.Value]
    ) -> tuple[object, ...] | None:
        """Type and matched inputs of an operator; None where some are not matched."""
        data = flow.data(node)
        if not any(value is not None for value in data):
            return None
        if any(value is not None and value not in names for value in data):
            return None
        read = [id(names[value]) if value is not None else 0 for value in data]
        while read and read[-1] == 0:
            read.pop()
        return node.domain, node.op_type, *(sorted(read) if node.op_type in UNORDERED else read)

    def best(self, ours: list[ir.Node], theirs: list[ir.Node]) -> Iterator[tuple[ir.Node, ir.Node]]:
        """Operators in pairs: by weights where there are several, else in their order."""
        if len(ours) == 1 and len(theirs) == 1:
            yield ours[0], theirs[0]
            return
        rest = list(theirs)
        for node in ours:
            likeness = [self.likeness(node, other) for other in rest]
            if not rest:
                return
            top = int(np.argmax(likeness))
            yield node, rest.pop(top)

    def backward(self) -> bool:
        """Match what matched operators read, and operators that give the same."""
        changed = False
        for one, other in list(self.values.items()):
            ours, theirs = one.producer(), other.producer()
            if ours is None or theirs is None or kind(one) != kind(other):
                continue
            if ours not in self.operators and theirs not in self.taken:
                self.operators[ours] = theirs
                self.taken.add(theirs)
        for ours, theirs in list(self.operators.items()):
            for pair in self.inputs(ours, theirs):
                changed = self.pair_values(*pair) or changed
        return changed

    def inputs(self, ours: ir.Node, theirs: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Computed inputs of two matched operators that must be the same."""
        one, other = self.reference.data(ours), self.variant.data(theirs)
        if ours.op_type in UNORDERED:
            one = [v for v in one if v is not None and v not in self.values]
            other = [v for v in other if v is not None and v not in self.back]
            if len(one) != 1 or len(other) != 1:
                return
        if sum(v is not None for v in one) != sum(v is not None for v in other):
            return
        for left, right in zip(one, other, strict=False):
            if left is not None and right is not None:
                yield left, right

    def by_weight(self) -> bool:
        """Match operators of one type whose weights are nearly the same, and no others are."""
        ours = [node for node in self.reference.operators if node not in self.operators]
        theirs = [node for node in self.variant.operators if node not in self.taken]
        changed = False
        for node in ours:
            near = [other for other in theirs if self.likeness(node, other) >= CLOSE]
            if len(near) == 1 and near[0] not in self.taken:
                changed = self.pair_operators(node, near[0]) or changed
        return changed

    def likeness(self, ours: ir.Node, theirs: ir.Node) -> float:
        """Cosine of the weights of two operators of one type; 0 where they cannot be the same."""
        if (ours.domain, ours.op_type) != (theirs.domain, theirs.op_type):
            return 0.0
        one = [self.prints[v] for _, v in self.reference.weights(ours) if v in self.prints]
        other = [self.prints[v] for _, v in self.variant.weights(theirs) if v in self.prints]
        pairs = [(a, b) for a, b in zip(one, other, strict=False) if a.shape == b.shape]
        return max((cosine(a, b) for a, b in pairs), default=0.0)


def kind(value: ir.Value) -> tuple[str, str]:
    """Domain and type of the operator that gives a value."""
    maker = value.producer()
    return ("", "") if maker is None else (maker.domain, maker.op_type)


def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Cosine of two vectors; 0 where one is all zeros."""
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else 0.0
