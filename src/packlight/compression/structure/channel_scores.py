"""How much each channel of a group matters, and which of them go.

``reconstruction`` removes one after another those whose loss the others make up for best, by least
squares in the weights that read them. Source: Hassibi and Stork, "Optimal Brain Surgeon" (1993);
Kurtic et al., "ZipLM" (NeurIPS 2023), for whole channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.compression.structure.channel_groups import ChannelGroup, ChannelGroups, WeightAxes
from packlight.runtime.calibration import Calibrator

Doubles = NDArray[np.float64]

ROWS_PER_CALL = 256
"""Positions taken of one call: neighbors in a feature map add little that is new."""

MAX_CHANNELS = 4096
"""Channels of a value whose products are all observed; of more, only their squares."""

STEPS = 32
"""Times at most that what channels lose is computed anew while they are removed."""

DAMPING = 0.01
"""Share of the mean variance that is added to that of each channel."""


class ChannelMoments:
    """Sums of the channels of a value and of their products, streamed.

    Args:
        axis: of the channels.
    """

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.count = 0
        self.total: Doubles = np.zeros(0)
        self.outer: Doubles = np.zeros((0, 0))

    def update(self, value: NDArray[np.generic]) -> None:
        """Take in the value of one call; rows that are not finite are left out."""
        moved = np.moveaxis(np.asarray(value, np.float32), self.axis, -1)
        rows = moved.reshape(-1, moved.shape[-1])
        if len(rows) > ROWS_PER_CALL:
            rows = rows[np.linspace(0, len(rows) - 1, ROWS_PER_CALL).astype(np.int64)]
        rows = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
        if not self.count:
            width = rows.shape[1]
            whole = width <= MAX_CHANNELS
            self.total = np.zeros(width)
            self.outer = np.zeros((width, width) if whole else (width,))
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.outer += rows.T @ rows if self.outer.ndim > 1 else np.square(rows).sum(axis=0)

    def covariance(self) -> Doubles:
        """(channels, channels); diagonal where only squares were observed."""
        mean = self.total / max(self.count, 1)
        if self.outer.ndim == 1:
            return np.diag(self.outer / max(self.count, 1) - np.square(mean))
        return self.outer / max(self.count, 1) - np.outer(mean, mean)


@dataclass(slots=True)
class Reader:
    """A weight that reads channels, while these are removed.

    Attributes:
        members: by class, its inputs of the weight.
        weight: (inputs, outputs) as it stands.
        inverse: of the damped covariance of the inputs.
        energy: of the outputs at the start.
    """

    members: dict[int, list[int]]
    weight: Doubles
    inverse: Doubles
    energy: float

    def losses(self, classes: Sequence[int]) -> Doubles:
        """Squared error of the outputs without each class, as a share of their energy."""
        rows = np.square(self.weight).sum(axis=1) / np.maximum(np.diag(self.inverse), 1e-30)
        lost = [rows[self.members.get(label, [])].sum() for label in classes]
        return np.array(lost) / self.energy

    def remove(self, classes: Sequence[int]) -> None:
        """Remove classes, and let the other inputs make up for them."""
        gone = [index for label in classes for index in self.members.pop(label, [])]
        if not gone:
            return
        block = self.inverse[np.ix_(gone, gone)]
        factors = np.linalg.solve(block, self.inverse[gone])
        columns = self.inverse[:, gone].copy()
        self.weight -= columns @ np.linalg.solve(block, self.weight[gone])
        self.inverse -= columns @ factors
        self.weight[gone] = 0
        self.inverse[gone] = 0
        self.inverse[:, gone] = 0


def observe_channels(
    graph: ir.Model, groups: Sequence[ChannelGroup], calibrator: Calibrator
) -> dict[tuple[str, int], ChannelMoments]:
    """Moments of what the consumers of groups read, by name of the value and axis."""
    moments: dict[tuple[str, int], ChannelMoments] = {}
    for group in groups:
        for weight in group.consumers:
            if weight.operand is not None and weight.operand[0].name:
                key = str(weight.operand[0].name), weight.operand[1]
                moments.setdefault(key, ChannelMoments(key[1]))
    observers: dict[str, list[ChannelMoments]] = {}
    for (name, _), observer in moments.items():
        observers.setdefault(name, []).append(observer)
    if observers:
        calibrator.observe(graph, observers)
    return moments


class ChannelScores:
    """Choice of channels to remove.

    Args:
        groups: of the model.
        importance: as in ``Channels``.
        moments: from ``observe_channels``; empty where the importance needs none.
    """

    def __init__(
        self,
        groups: ChannelGroups,
        importance: str,
        moments: dict[tuple[str, int], ChannelMoments],
    ) -> None:
        self.groups = groups
        self.importance = importance
        self.moments = moments

    def least_important(self, group: ChannelGroup, count: int) -> list[int]:
        """Classes to remove: so many, or fewer where more must stay."""
        classes = [label for label in group.classes.tolist() if label not in group.kept]
        count = min(count, len(classes))
        if self.importance == "norm":
            return _lowest(classes, self._norm_scales(classes), count)
        readers = [] if self.importance == "l2" else self._readers(group)
        if not readers:  # nothing reads them that samples show, as in the last table of a model
            return _lowest(classes, weight_norms(group, classes), count)
        if self.importance == "activation":
            return _lowest(classes, sum_losses(readers, classes), count)
        return _remove_in_steps(readers, classes, count)

    def _readers(self, group: ChannelGroup) -> list[Reader]:
        readers = []
        for weight in group.consumers:
            observer = None
            if weight.operand is not None:
                observer = self.moments.get((str(weight.operand[0].name), weight.operand[1]))
            if observer is not None and observer.count:
                readers.append(_reader(weight, observer.covariance(), self.importance))
        return readers

    def has_norms(self, group: ChannelGroup) -> bool:
        """Tell whether a batch norm scales each channel."""
        return all(label in self._scales for label in group.classes.tolist())

    def _norm_scales(self, classes: Sequence[int]) -> Doubles:
        """Mean magnitude of the scales of batch norms, each norm relative to its mean."""
        return np.array([np.mean(self._scales[label]) for label in classes], np.float64)

    @cached_property
    def _scales(self) -> dict[int, list[float]]:
        """Scales of batch norms by class."""
        scales: dict[int, list[float]] = {}
        for node in self._norms():
            tensor = stored(node.inputs[1])
            if tensor is None:
                continue
            sizes = np.abs(np.asarray(tensor.numpy(), np.float64))
            relative = sizes / max(float(sizes.mean()), 1e-30)
            labels = self.groups.labels(node.inputs[1], 0)
            for label, scale in zip(labels.tolist(), relative.tolist(), strict=True):
                scales.setdefault(label, []).append(scale)
        return scales

    def _norms(self) -> list[ir.Node]:
        readers = {
            id(node): node for value in self.groups.couplings.values() for node in value.consumers()
        }
        return [node for node in readers.values() if is_standard(node, "BatchNormalization")]


def _lowest(classes: Sequence[int], scores: Doubles, count: int) -> list[int]:
    order = np.argsort(np.nan_to_num(scores, nan=np.inf), kind="stable")[:count]
    return [classes[index] for index in order.tolist()]


def sum_losses(readers: Sequence[Reader], classes: Sequence[int]) -> Doubles:
    """Losses of all readers, each a share of its energy."""
    return np.asarray(sum(reader.losses(classes) for reader in readers))


def _remove_in_steps(readers: Sequence[Reader], classes: Sequence[int], count: int) -> list[int]:
    left = list(classes)
    removed: list[int] = []
    step = -(-count // STEPS) if count else 1
    while len(removed) < count:
        lowest = _lowest(left, sum_losses(readers, left), min(step, count - len(removed)))
        for reader in readers:
            reader.remove(lowest)
        removed += lowest
        gone = set(lowest)
        left = [label for label in left if label not in gone]
    return removed


def _reader(weight: WeightAxes, covariance: Doubles, importance: str) -> Reader:
    tensor = stored(weight.value)
    assert tensor is not None
    array = np.asarray(tensor.numpy(), np.float64)
    rows = np.moveaxis(array, weight.input_axis, 0).reshape(array.shape[weight.input_axis], -1)
    energy = float(np.sum((covariance @ rows) * rows))
    damping = DAMPING * max(float(np.trace(covariance)) / max(len(covariance), 1), 1e-12)
    if importance == "activation":
        covariance = np.diag(np.diag(covariance))
    inverse = np.asarray(np.linalg.inv(covariance + damping * np.eye(len(covariance))), np.float64)
    members: dict[int, list[int]] = {}
    for index, label in enumerate(weight.inputs.tolist()):
        members.setdefault(label, []).append(index)
    return Reader(members, rows.copy(), inverse, max(energy, 1e-30))


def weight_norms(group: ChannelGroup, classes: Sequence[int]) -> Doubles:
    """Mean square of each channel's weights, each weight relative to its mean; (classes,)."""
    sums = dict.fromkeys(classes, 0.0)
    for weight in group.producers:
        tensor = stored(weight.value)
        assert tensor is not None
        array = np.asarray(tensor.numpy(), np.float64)
        squares = np.square(np.moveaxis(array, weight.output_axis, 0))
        rows = squares.reshape(len(squares), -1).mean(axis=1)
        shares = rows / max(float(rows.mean()), 1e-30)
        for label, share in zip(weight.outputs.tolist(), shares.tolist(), strict=True):
            if label in sums:
                sums[label] += share
    return np.array([sums[label] for label in classes])
