"""Weights behind removed channels, fitted to the outputs that they had.

A weight at a time, in the order they run: samples run through the model as it stands and through
the model before, and the weight moves to where its outputs come nearest to those that it had.
Source: He et al., "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.reconstruction.bias_correction import Bias, bias_of
from packlight.compression.sites.stored_codes import FLOAT_TYPES
from packlight.compression.sites.weight_matrix import input_matrices, input_values, role_layout
from packlight.compression.sites.weight_roles import Role, stored
from packlight.compression.structure.channel_groups import WeightAxes
from packlight.model import nodes
from packlight.runtime.calibration import Calibrator

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]

ROWS_PER_CALL = 128
MAX_INPUTS = 4096
"""Inputs of a row up to which a weight is fitted; the products of more would fill the memory."""

DAMPING = 0.01
"""Share of the mean squared input that holds a weight at the values that it had."""


class InputPairs:
    """Products of the inputs of one weight with those that it had before, streamed.

    Args:
        role: of the weight as it stands.
        before: of the weight before.

    Attributes:
        is_paired: whether rows answer to rows; not where channels that went are rows of a product.
    """

    def __init__(self, role: Role, before: Role) -> None:
        self.role = role
        self.before = before
        self.is_paired = True
        self.count = 0
        self.total: Doubles = np.zeros(0)
        self.total_before: Doubles = np.zeros(0)
        self.outer: Doubles = np.zeros((0, 0))
        self.cross: Doubles = np.zeros((0, 0))

    def update_pair(self, value: Array, reference: Array) -> None:
        """Take in the inputs of one call of both models."""
        if not value.size or not reference.size:
            return
        rows = input_matrices(self.role, np.asarray(value, np.float32), _limit)[0]
        before = input_matrices(self.before, np.asarray(reference, np.float32), _limit)[0]
        self.is_paired = self.is_paired and len(rows) == len(before)
        if not self.is_paired:
            return
        finite = np.isfinite(rows).all(axis=1) & np.isfinite(before).all(axis=1)
        rows = rows[finite].astype(np.float64)
        before = before[finite].astype(np.float64)
        if not self.count:
            self.total = np.zeros(rows.shape[1])
            self.total_before = np.zeros(before.shape[1])
            self.outer = np.zeros((rows.shape[1], rows.shape[1]))
            self.cross = np.zeros((rows.shape[1], before.shape[1]))
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.total_before += before.sum(axis=0)
        self.outer += rows.T @ rows
        self.cross += rows.T @ before

    def fitted(self, weight: Doubles, before: Doubles, *, centered: bool) -> Doubles:
        """The weight (outputs, inputs) with the least squared error of its outputs.

        Args:
            weight: as it stands.
            before: of the model before, with the same outputs.
            centered: whether a bias takes up the means.
        """
        outer = self.outer / self.count
        cross = self.cross / self.count
        if centered:
            outer = outer - np.outer(self.total, self.total) / self.count**2
            cross = cross - np.outer(self.total, self.total_before) / self.count**2
        gap = cross @ before.T - outer @ weight.T
        damping = DAMPING * max(float(np.trace(outer)) / len(outer), 1e-12)
        return weight + np.linalg.solve(outer + damping * np.eye(len(outer)), gap).T

    def mean_gap(self, weight: Doubles, before: Doubles) -> Doubles:
        """Mean of the outputs before less that of a weight's, (outputs,)."""
        return np.asarray(self.total_before @ before.T - self.total @ weight.T) / self.count


def _limit(width: int) -> int:
    del width
    return ROWS_PER_CALL


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """A weight to fit.

    Attributes:
        weight: with its axes.
        before: its role in the model before.
        outputs: by output that it had, whether it stays.
    """

    weight: WeightAxes
    before: Role
    outputs: NDArray[np.bool_]


def is_fittable(weight: WeightAxes) -> bool:
    """Check for a weight whose inputs are rows of one matrix and can be observed."""
    tensor = stored(weight.value)
    role = weight.role
    if tensor is None or tensor.dtype not in FLOAT_TYPES or role.kind not in FITTED:
        return False
    if weight.input_axis < 0 or not input_values(role) or len(weight.value.uses()) > 1:
        return False
    groups, _, inputs = role_layout(role, tuple(tensor.shape.numpy())).sizes()
    return groups == 1 and inputs <= MAX_INPUTS


FITTED = ("Conv", "Gemm", "MatMul")


def refit_weights(
    graph: ir.Model,
    before: ir.Model,
    weights: Sequence[tuple[WeightAxes, NDArray[np.bool_]]],
    calibrator: Calibrator,
) -> set[str]:
    """Fit weights in the order they run, in place.

    Args:
        graph: without the channels.
        before: the model with all of them.
        weights: to fit, each with the outputs that stay.
        calibrator: runs calibration samples.

    Returns:
        Names of the operators whose weights were fitted.
    """
    fitted: set[str] = set()
    for refit in _in_order(graph, before, weights):
        role = refit.weight.role
        pairs = InputPairs(role, refit.before)
        name = str(input_values(role)[0].name)
        calibrator.observe_pair(graph, before, {name: [pairs]})
        if pairs.is_paired and pairs.count and _fit(refit, pairs):
            fitted.add(role.operator)
    return fitted


def _in_order(
    graph: ir.Model,
    before: ir.Model,
    weights: Sequence[tuple[WeightAxes, NDArray[np.bool_]]],
) -> Iterator[Refit]:
    """Weights in the order they run, with their roles in the model before."""
    by_node = {id(weight.role.node): (weight, outputs) for weight, outputs in weights}
    for node, old in zip(list(nodes(graph)), list(nodes(before)), strict=True):
        if id(node) in by_node:
            weight, outputs = by_node[id(node)]
            yield Refit(weight, replace(weight.role, node=old), outputs)


def _fit(refit: Refit, pairs: InputPairs) -> bool:
    """Store the fitted weight and the bias that goes with it."""
    role = refit.weight.role
    tensor = stored(refit.weight.value)
    old_tensor = stored(refit.before.node.inputs[role.index])
    assert tensor is not None
    assert old_tensor is not None
    layout = role_layout(role, tuple(tensor.shape.numpy()))
    old_layout = role_layout(refit.before, tuple(old_tensor.shape.numpy()))
    weight = layout.matrices(np.asarray(tensor.numpy(), np.float64))[0]
    before = old_layout.matrices(np.asarray(old_tensor.numpy(), np.float64))[0][refit.outputs]
    bias = bias_of(role, len(weight))
    new = pairs.fitted(weight, before, centered=bias is not None)
    array = layout.weight(new[None]).astype(tensor.dtype.numpy())
    if not np.isfinite(array.astype(np.float64)).all():
        return False
    _store(refit.weight.value, ir.Tensor(array, dtype=tensor.dtype, name=tensor.name))
    if bias is not None:
        _shift(bias, pairs.mean_gap(new, before))
    return True


def _shift(bias: Bias, by: Doubles) -> None:
    bias.shift(by[None])


def _store(value: ir.Value, tensor: ir.TensorProtocol) -> None:
    node = value.producer()
    if node is None:
        value.const_value = tensor
        return
    node.attributes.clear()
    node.attributes["value"] = ir.AttrTensor("value", tensor)
