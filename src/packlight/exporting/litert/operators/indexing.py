"""Operators that take numbers by their positions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from packlight.exporting.litert.flatbuffer import Array, Tensor
from packlight.exporting.litert.layouts import natural
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.values import (
    Operator,
    UnsupportedError,
    Value,
    stored_value,
    value_of,
)


def _gather(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    indices = op.input(1)
    axis = op.axis(value.rank, 0)
    size = value.shape[axis]
    if value.array is not None and indices.is_stored:
        return stored_value("", np.take(value.array, indices.numbers(), axis=axis))
    layout = natural(value.rank)
    if indices.rank == 1 or (indices.is_stored and indices.rank == 0):
        layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    place = layout.index(axis)
    result = lowering.gather(tensor, _positions(lowering, indices, size), place)
    if indices.rank == 0:
        kept = [other for other in layout if other != axis]
        return value_of("", result, tuple(sorted(kept).index(other) for other in kept))
    if indices.rank == 1:
        return value_of("", result, layout)
    return value_of("", result)


def _positions(lowering: Lowering, indices: Value, size: int) -> Array | Tensor:
    """Indices counted from the start."""
    if indices.is_stored:
        return np.asarray(indices.numbers()) % size
    return lowering.binary("FLOOR_MOD", lowering.form(indices), float(size))


def _gather_elements(lowering: Lowering, op: Operator) -> Result:
    """Through positions in the flat value."""
    value = op.input(0)
    indices = op.input(1)
    axis = op.axis(value.rank, 0)
    strides = [math.prod(value.shape[place + 1 :]) for place in range(value.rank)]
    grid = np.indices(indices.shape)
    others = sum(grid[place] * strides[place] for place in range(value.rank) if place != axis)
    offsets = np.asarray(others, np.int64) + np.zeros(indices.shape, np.int64)
    flat = lowering.reshape(lowering.form(value), (value.size,))
    positions = _positions(lowering, indices, value.shape[axis])
    if isinstance(positions, Tensor):
        scaled = lowering.binary("MUL", positions, float(strides[axis]))
        places = lowering.binary("ADD", scaled, lowering.constant(offsets, positions.dtype))
        return value_of("", lowering.gather(flat, places, 0))
    return value_of("", lowering.gather(flat, positions * strides[axis] + offsets, 0))


def _gather_nd(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    indices = op.input(1)
    if op.integer("batch_dims"):
        raise UnsupportedError("batch_dims")
    depth = indices.shape[-1]
    if indices.is_stored:
        array = indices.numbers() % np.array(value.shape[:depth])
        places = lowering.constant(array, "int32")
    else:
        sizes = lowering.constant(value.shape[:depth], indices.dtype)
        places = lowering.binary("FLOOR_MOD", lowering.form(indices), sizes)
    tensor = lowering.form(value)
    shape = (*indices.shape[:-1], *value.shape[depth:])
    return value_of("", lowering.emit("GATHER_ND", [tensor, places], shape, tensor.dtype))


def _scatter_nd(lowering: Lowering, op: Operator) -> Result:
    """With stored positions: take each number from the old ones or the updates."""
    value, indices, updates = (op.input(index) for index in range(3))
    if op.text("reduction", "none") != "none":
        raise UnsupportedError(f"reduction {op.text('reduction', 'none')}")
    if not indices.is_stored:
        raise UnsupportedError("computed positions")
    array = indices.numbers()
    depth = array.shape[-1]
    places = np.arange(value.size).reshape(value.shape)
    new = value.size + np.arange(updates.size).reshape(updates.shape)
    rows = (array % np.array(value.shape[:depth])).reshape(-1, depth)
    blocks = new.reshape(len(rows), *value.shape[depth:])
    for row, block in zip(rows, blocks, strict=True):
        places[tuple(row)] = block
    return _selected(lowering, value, updates, places)


def _scatter_elements(lowering: Lowering, op: Operator) -> Result:
    value, indices, updates = (op.input(index) for index in range(3))
    if op.text("reduction", "none") != "none":
        raise UnsupportedError(f"reduction {op.text('reduction', 'none')}")
    if not indices.is_stored:
        raise UnsupportedError("computed positions")
    axis = op.axis(value.rank, 0)
    places = np.arange(value.size).reshape(value.shape)
    new = value.size + np.arange(updates.size).reshape(updates.shape)
    positions = indices.numbers() % value.shape[axis]
    for place in np.ndindex(*indices.shape):
        target = list(place)
        target[axis] = int(positions[place])
        places[tuple(target)] = new[place]
    return _selected(lowering, value, updates, places)


def _selected(lowering: Lowering, value: Value, updates: Value, places: Array) -> Value:
    flat = [lowering.reshape(lowering.form(part), (part.size,)) for part in (value, updates)]
    return value_of("", lowering.gather(lowering.concatenate(flat, 0), places, 0))


def _one_hot(lowering: Lowering, op: Operator) -> Result:
    indices, depth, values = (op.input(index) for index in range(3))
    axis = op.axis(indices.rank + 1, -1)
    count = depth.integers()[0]
    cold, hot = values.numbers().reshape(-1)
    positions = _positions(lowering, indices, count)
    if not isinstance(positions, Tensor):
        positions = lowering.constant(positions, "int32")
    if positions.dtype == "float32":
        positions = lowering.emit("CAST", [positions], positions.shape, "int32")
    shape = [*indices.shape[:axis], count, *indices.shape[axis:]]
    result = lowering.emit(
        "ONE_HOT",
        [
            positions,
            lowering.constant(count, "int32"),
            lowering.constant(hot, values.dtype),
            lowering.constant(cold, values.dtype),
        ],
        shape,
        values.dtype,
        axis=axis if axis < indices.rank else -1,
    )
    return value_of("", result)


INDEXING: Mapping[str, Function] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
}
