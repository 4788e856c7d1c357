"""Positions along the axes of values that must be removed together.

Every axis of known size of every value, stored weights included, has positions 0 to n - 1. Each
operator states which positions of what it reads and gives are one and the same channel; what it
does not understand it fixes. Positions that are connected so are a class: all of them go, or none.
Source: the dependency groups of Fang et al., "DepGraph" (CVPR 2023), position by position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.sites.weight_roles import stored
from packlight.model import Model, graphs, infer_shapes
from packlight.records.reason_code import ReasonCode

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Reason why positions stay.

    Attributes:
        code: for programs.
        reason: for people.
        remedy: what the user can change.
    """

    code: ReasonCode
    reason: str
    remedy: str = ""


class Couplings:
    """Positions of all values of a model, and what operators state about them.

    Args:
        graph: the model; its shapes must not change meanwhile.
    """

    def __init__(self, graph: ir.Model) -> None:
        self._shapes = infer_shapes(Model(graph, "channels"), {})
        self._starts: dict[int, list[int | None]] = {}
        self._sizes: dict[int, list[int]] = {}
        self._values: list[ir.Value] = []  # keeps identities alive
        self._count = 0
        self._pairs: list[tuple[Positions, Positions]] = []
        self._fixed: list[tuple[Positions, Fixed]] = []
        self._postponed: list[Callable[[Callable[[Positions], bool]], None]] = []
        self._inner = _names_in_bodies(graph)

    def rank(self, value: ir.Value | None) -> int | None:
        """Number of axes; None where it is unknown."""
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def shape(self, value: ir.Value | None) -> tuple[int | None, ...] | None:
        """Sizes of axes, None for open ones; None where nothing is known."""
        if value is None:
            return None
        tensor = stored(value)
        if tensor is not None:
            return tuple(int(size) for size in tensor.shape.numpy())
        return self._shapes.get(str(value.name))

    def positions(self, value: ir.Value | None, axis: int) -> Positions | None:
        """Positions of an axis, as numbers that no other axis has; None where it is open."""
        shape = self.shape(value)
        if value is None or shape is None or not -len(shape) <= axis < len(shape):
            return None
        if id(value) not in self._starts:
            self._add(value, shape)
        start = self._starts[id(value)][axis]
        if start is None:
            return None
        return np.arange(start, start + self._sizes[id(value)][axis])

    def _add(self, value: ir.Value, shape: Sequence[int | None]) -> None:
        starts: list[int | None] = []
        for size in shape:
            starts.append(None if size is None else self._count)
            self._count += size or 0
        self._starts[id(value)] = starts
        self._sizes[id(value)] = [size or 0 for size in shape]
        self._values.append(value)

    def values(self) -> list[ir.Value]:
        """Every value of which an operator has stated something, in the order they came."""
        return list(self._values)

    def join(self, first: Positions | None, second: Positions | None, fixed: Fixed) -> None:
        """State that positions are the same channels, pair by pair.

        Where one side is open, or they differ in number, the known ones are fixed.
        """
        if first is not None and second is not None and first.size == second.size:
            self._pairs.append((first, second))
            return
        self.fix(first, fixed)
        self.fix(second, fixed)

    def join_axes(
        self,
        first: ir.Value | None,
        axis: int,
        second: ir.Value | None,
        other: int,
    ) -> None:
        """State that two axes have the same channels."""
        self.join(self.positions(first, axis), self.positions(second, other), OPEN)

    def fix(self, positions: Positions | None, fixed: Fixed) -> None:
        """State that positions stay."""
        if positions is not None and positions.size:
            self._fixed.append((positions, fixed))

    def fix_axis(self, value: ir.Value | None, axis: int, fixed: Fixed) -> None:
        """State that an axis stays as it is."""
        self.fix(self.positions(value, axis), fixed)

    def fix_value(self, value: ir.Value | None, fixed: Fixed) -> None:
        """State that all axes of a value stay as they are."""
        for axis in range(self.rank(value) or 0):
            self.fix_axis(value, axis, fixed)

    def postpone(self, statement: Callable[[Callable[[Positions], bool]], None]) -> None:
        """Make a statement when all others are made; it is told which positions stay."""
        self._postponed.append(statement)

    def settle(self) -> None:
        """Make the postponed statements."""
        classes = self.classes()

        def is_fixed(positions: Positions) -> bool:
            if positions.size and positions[-1] >= classes.labels.size:
                return False
            labels = classes.labels[positions]
            return all(classes.reasons[label] is not None for label in labels.tolist())

        for statement in self._postponed:
            statement(is_fixed)
        self._postponed.clear()

    def is_in_body(self, value: ir.Value) -> bool:
        """Check for a value that operators in the body of another read."""
        return id(value) in self._inner

    def classes(self) -> Classes:
        """The classes that follow from all statements."""
        edges = [np.zeros(0, np.int64)] * 2
        if self._pairs:
            edges = [np.concatenate(side) for side in zip(*self._pairs, strict=True)]
        from scipy.sparse import coo_array  # noqa: PLC0415  scipy takes long to load
        from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

        ones = np.ones(len(edges[0]), np.bool_)
        links = coo_array((ones, (edges[0], edges[1])), shape=(self._count, self._count))
        count, labels = connected_components(links, directed=False)
        reasons: list[Fixed | None] = [None] * count
        for positions, fixed in self._fixed:
            for label in np.unique(labels[positions]):
                reasons[label] = reasons[label] or fixed
        return Classes(labels, tuple(reasons))


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of positions.

    Attributes:
        labels: the class of every position.
        reasons: by class, why it stays; None where it can be removed.
    """

    labels: NDArray[np.int32]
    reasons: tuple[Fixed | None, ...]


OPEN = Fixed("unknown-shape", "the size of an axis that its channels reach is open")


def _names_in_bodies(graph: ir.Model) -> set[int]:
    """Identities of values of the main graph that bodies read."""
    inner = [body for body in graphs(graph) if body is not graph.graph]
    return {
        id(value) for body in inner for node in body for value in node.inputs if value is not None
    } | {id(value) for body in inner for value in body.outputs}
