"""Groups of channels of a model, each with the weights that give and read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.sites.weight_roles import Role, stored, weight_roles
from packlight.compression.structure.coupling_rules import couple
from packlight.compression.structure.couplings import Classes, Couplings, Fixed

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class WeightAxes:
    """A stored weight in one role, with the classes of its outputs and inputs.

    Attributes:
        role: the operator that reads it.
        value: the weight.
        output_axis: along which its outputs lie.
        outputs: their classes.
        input_axis: along which its inputs lie; -1 where all groups read inputs of their own.
        inputs: their classes.
        operand: value that it multiplies, and the axis of its inputs there; None where that is
            unknown.
    """

    role: Role
    value: ir.Value
    output_axis: int
    outputs: Labels
    input_axis: int
    inputs: Labels
    operand: tuple[ir.Value, int] | None

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return self.role.operator


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGroup:
    """Channels among which some can be removed.

    Attributes:
        classes: of positions, each a channel, in the order of the first weight.
        kept: classes that must stay, so that no value loses all of its channels.
        producers: weights that give them.
        consumers: weights that read them.
    """

    classes: Labels
    kept: frozenset[int]
    producers: tuple[WeightAxes, ...]
    consumers: tuple[WeightAxes, ...]


class ChannelGroups:
    """Groups of a model.

    Args:
        graph: the model; it must not change meanwhile.
    """

    def __init__(self, graph: ir.Model) -> None:
        self.couplings: Couplings = couple(graph)
        self.weights = list(_weight_axes(graph, self.couplings))
        self.classes: Classes = self.couplings.classes()

    def labels(self, value: ir.Value | None, axis: int) -> Labels:
        """Classes of the positions along an axis; none where its size is open."""
        positions = self.couplings.positions(value, axis)
        if positions is None or not positions.size:
            return np.zeros(0, np.int32)
        if positions[-1] >= self.classes.labels.size:  # no operator has stated anything of it
            return np.zeros(0, np.int32)
        return self.classes.labels[positions]

    def is_removable(self, label: int) -> bool:
        """Tell whether a class can be removed."""
        return self.classes.reasons[label] is None

    @cached_property
    def roles(self) -> list[WeightAxes]:
        """Every stored weight in each of its roles."""
        return [self._axes(role, value, axes) for role, value, axes in self.weights]

    def _axes(self, role: Role, value: ir.Value, axes: _Axes) -> WeightAxes:
        inputs = np.zeros(0, np.int32)
        if axes.inputs >= 0:
            inputs = self.labels(value, axes.inputs)
        return WeightAxes(
            role, value, axes.outputs, self.labels(value, axes.outputs), axes.inputs, inputs,
            axes.operand,
        )  # fmt: skip

    @cached_property
    def groups(self) -> list[ChannelGroup]:
        """All groups, in the order of their first weights."""
        parents: dict[int, int] = {}
        for weight in self.roles:
            members = [label for label in weight.outputs.tolist() if self.is_removable(label)]
            for label in members:
                parents.setdefault(label, label)
                _merge(parents, members[0], label)
        members_of: dict[int, list[int]] = {}
        for label in parents:
            members_of.setdefault(_root(parents, label), []).append(label)
        kept = self._last_of_an_axis(members_of, parents)
        return [self._group(members, kept) for members in members_of.values()]

    def _group(self, members: Sequence[int], kept: set[int]) -> ChannelGroup:
        own = set(members)
        producers = [weight for weight in self.roles if own.intersection(weight.outputs.tolist())]
        consumers = [weight for weight in self.roles if own.intersection(weight.inputs.tolist())]
        return ChannelGroup(
            np.array(members, np.int32),
            frozenset(own & kept),
            tuple(producers),
            tuple(consumers),
        )

    def _last_of_an_axis(
        self, members_of: Mapping[int, Sequence[int]], parents: dict[int, int]
    ) -> set[int]:
        """Classes that must stay: the first of each axis that its group could empty."""
        kept: set[int] = set()
        for value in self.couplings.values():
            for axis in range(self.couplings.rank(value) or 0):
                labels = self.labels(value, axis).tolist()
                if not labels or not all(label in parents for label in labels):
                    continue
                distinct = set(labels)
                whole = len(members_of[_root(parents, labels[0])])
                if len(distinct) < whole and not kept & distinct:
                    kept.add(labels[0])
        return kept

    def obstacle(self, weight: WeightAxes) -> Fixed | None:
        """Reason why none of a weight's outputs can be removed; None where some can."""
        labels = weight.outputs.tolist()
        if any(self.is_removable(label) for label in labels):
            return None
        if not labels:
            return Fixed("unknown-shape", "the shape of its weight has no axis of outputs")
        reason: Fixed | None = self.classes.reasons[labels[0]]
        return reason


def _root(parents: dict[int, int], label: int) -> int:
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


def _merge(parents: dict[int, int], first: int, second: int) -> None:
    ends = sorted((_root(parents, first), _root(parents, second)))
    parents[ends[1]] = ends[0]


@dataclass(frozen=True, slots=True)
class _Axes:
    """Axes of a weight; ``inputs`` is -1 where outputs do not sum over all channels."""

    outputs: int
    inputs: int
    operand: tuple[ir.Value, int] | None


def _weight_axes(graph: ir.Model, couplings: Couplings) -> Iterator[tuple[Role, ir.Value, _Axes]]:
    for role, value in weight_roles(graph):
        if value is None or stored(value) is None:
            continue
        axes = AXES[role.node.op_type](role)
        couplings.positions(value, axes.outputs)  # weights in bodies have positions too
        yield role, value, axes


def _operand(role: Role, index: int, axis: int) -> tuple[ir.Value, int] | None:
    value = role.node.inputs[index]
    if value is None or stored(value) is not None:
        return None
    return value, axis


def _conv_axes(role: Role) -> _Axes:
    if role.node.attributes.get_int("group", 1) > 1:
        return _Axes(0, -1, None)
    return _Axes(0, 1, _operand(role, 0, 1))


def _conv_transpose_axes(role: Role) -> _Axes:
    if role.node.attributes.get_int("group", 1) > 1:
        return _Axes(0, -1, None)
    return _Axes(1, 0, _operand(role, 0, 1))


def _gemm_axes(role: Role) -> _Axes:
    inner = 0 if role.node.attributes.get_int("transA", 0) else 1
    operand = _operand(role, 0, inner)
    if role.node.attributes.get_int("transB", 0):
        return _Axes(0, 1, operand)
    return _Axes(1, 0, operand)


def _matmul_axes(role: Role) -> _Axes:
    last = role.rank - 1
    if role.index == 1:
        return _Axes(last, last - 1, _operand(role, 0, -1))
    return _Axes(last - 1, last, _operand(role, 1, -2))


def _recurrent_axes(role: Role) -> _Axes:
    operand = _operand(role, 0, 2) if role.index == 1 else None
    return _Axes(1, 2, operand)


def _gather_axes(_: Role) -> _Axes:
    return _Axes(1, -1, None)


AXES: Mapping[str, Callable[[Role], _Axes]] = {
    "Conv": _conv_axes,
    "ConvTranspose": _conv_transpose_axes,
    "Gemm": _gemm_axes,
    "MatMul": _matmul_axes,
    "LSTM": _recurrent_axes,
    "GRU": _recurrent_axes,
    "RNN": _recurrent_axes,
    "Gather": _gather_axes,
}
"""Axes of outputs and inputs of a weight, by operator."""
