"""Operators that take or put numbers by their positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from packlight.exporting.coreml.lowering import Function, Lowering, Operator, Result, Value
from packlight.exporting.coreml.operators.movement import gathered
from packlight.exporting.operator_view import UnsupportedError

MODES = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _positions(lowering: Lowering, indices: Value, size: object) -> object:
    """Indices counted from the start."""
    if indices.is_stored:
        return (np.asarray(indices.numbers()) % size).astype(np.int32)
    return lowering.op("mod", x=lowering.var(indices), y=np.asarray(size, np.int32))


def _gather(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    indices = op.input(1)
    axis = op.axis(value.rank, 0)
    places = _positions(lowering, indices, value.shape[axis])
    return gathered(lowering, lowering.var(value), places, axis)


def _gather_elements(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    indices = op.input(1)
    axis = op.axis(value.rank, 0)
    x = lowering.var(value)
    sizes = list(indices.shape)
    sizes[axis] = value.shape[axis]
    if sizes != list(value.shape):
        x = lowering.op("slice_by_size", x=x, begin=[0] * value.rank, size=sizes)
    return lowering.op(
        "gather_along_axis", x=x, axis=axis, validate_indices=False,
        indices=_positions(lowering, indices, value.shape[axis]),
    )  # fmt: skip


def _gather_nd(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    indices = op.input(1)
    if op.integer("batch_dims"):
        raise UnsupportedError("batch_dims")
    places = _positions(lowering, indices, np.array(value.shape[: indices.shape[-1]]))
    return lowering.op("gather_nd", x=lowering.var(value), indices=places, validate_indices=False)


def _scatter_nd(lowering: Lowering, op: Operator) -> Result:
    value, indices, updates = (op.input(index) for index in range(3))
    places = _positions(lowering, indices, np.array(value.shape[: indices.shape[-1]]))
    return lowering.op(
        "scatter_nd", data=lowering.var(value), indices=places, updates=lowering.var(updates),
        mode=MODES[op.text("reduction", "none")], validate_indices=False,
    )  # fmt: skip


def _scatter_elements(lowering: Lowering, op: Operator) -> Result:
    value, indices, updates = (op.input(index) for index in range(3))
    axis = op.axis(value.rank, 0)
    places = _positions(lowering, indices, value.shape[axis])
    kind = "scatter_along_axis"
    arguments = {"axis": axis}
    if isinstance(places, np.ndarray):  # positions in all axes may cover a part of the others
        grid = list(np.indices(indices.shape))
        grid[axis] = places
        kind = "scatter_nd"
        arguments = {}
        places = np.stack(grid, axis=-1).astype(np.int32)
    elif indices.shape[:axis] + indices.shape[axis + 1 :] != (
        value.shape[:axis] + value.shape[axis + 1 :]
    ):
        raise UnsupportedError("computed positions for a part of the other axes")
    return lowering.op(
        kind, data=lowering.var(value), updates=lowering.var(updates), indices=places,
        mode=MODES[op.text("reduction", "none")], validate_indices=False, **arguments,
    )  # fmt: skip


def _one_hot(lowering: Lowering, op: Operator) -> Result:
    indices = op.input(0)
    values = op.input(2)
    count = op.stored_integers(1)[0]
    cold, hot = np.reshape(values.numbers(), -1)
    rank = indices.rank + 1
    return lowering.op(
        "one_hot", indices=_positions(lowering, indices, count), one_hot_vector_size=count,
        axis=op.axis(rank, -1), on_value=lowering.array(hot), off_value=lowering.array(cold),
    )  # fmt: skip


INDEXING: Mapping[str, Function] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
}
