"""Operators that only move the numbers of a stored weight, applied to arrays of positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import optional_input, stored_array

Positions = NDArray[np.int64]
"""Index of the code or the shared value of each number of a weight."""

AXES_INPUT = 1
SLICE_INPUTS = ("starts", "ends", "axes", "steps")


def moved(positions: Positions, node: ir.Node) -> Positions | None:
    """Positions after an operator; None where it does more than move numbers.

    Args:
        positions: of the numbers that the operator reads.
        node: the operator.
    """
    move = _MOVES.get(node.op_type)
    if move is None or node.domain:
        return None
    return move(positions, node)


def _reshape(positions: Positions, node: ir.Node) -> Positions | None:
    sizes = _integers(node, 1, "shape")
    if sizes is None:
        return None
    if not node.attributes.get_int("allowzero", 0):
        sizes = [positions.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return positions.reshape(sizes)


def _transpose(positions: Positions, node: ir.Node) -> Positions:
    order = node.attributes.get_ints("perm", None)
    return positions.transpose(order or None)


def _squeeze(positions: Positions, node: ir.Node) -> Positions | None:
    if len(node.inputs) <= AXES_INPUT and "axes" not in node.attributes:
        return positions.squeeze()
    axes = _integers(node, AXES_INPUT, "axes")
    if axes is None:
        return None
    return positions.squeeze(tuple(axes))


def _unsqueeze(positions: Positions, node: ir.Node) -> Positions | None:
    axes = _integers(node, AXES_INPUT, "axes")
    if axes is None:
        return None
    return np.expand_dims(positions, tuple(axes))


def _flatten(positions: Positions, node: ir.Node) -> Positions:
    axis = node.attributes.get_int("axis", 1)
    rows = int(np.prod(positions.shape[:axis], dtype=np.int64))
    return positions.reshape(rows, -1)


def _slice(positions: Positions, node: ir.Node) -> Positions | None:
    if len(node.inputs) == 1:
        return None
    bounds = {
        name: _integers(node, index, name)
        for index, name in enumerate(SLICE_INPUTS, 1)
        if index < len(node.inputs) and node.inputs[index] is not None
    }
    if any(bound is None for bound in bounds.values()):
        return None
    starts = bounds["starts"] or []
    ends = bounds["ends"] or []
    axes = bounds.get("axes") or list(range(len(starts)))
    steps = bounds.get("steps") or [1] * len(starts)
    cut = [slice(None)] * positions.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            return None
        cut[axis] = slice(start, end, step)
    return positions[tuple(cut)]


def _same(positions: Positions, node: ir.Node) -> Positions:
    del node
    return positions


def _integers(node: ir.Node, index: int, name: str) -> list[int] | None:
    """Integers that are stored in an input, or in an attribute as in older opsets."""
    value = optional_input(node, index)
    numbers = stored_array(value)
    if value is None and name in node.attributes:
        return list(node.attributes[name].as_ints())
    if numbers is None:
        return None
    return [int(number) for number in numbers.ravel()]


_MOVES: Mapping[str, Callable[[Positions, ir.Node], Positions | None]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Slice": _slice,
    "Identity": _same,
}
