"""Operators that move numbers: shapes, slices, padding, repetition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from packlight.exporting.litert.flatbuffer import Array, Tensor
from packlight.exporting.litert.layouts import (
    after_transpose,
    channels_last,
    natural,
)
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.values import (
    Operator,
    UnsupportedError,
    Value,
    stored_value,
    value_of,
)
from packlight.exporting.slicing import (
    pad_widths,
    reshape_sizes,
    slice_ranges,
    split_sizes,
    triangle,
)
from packlight.model import stored_tensor


def _reshape(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    return reshaped(lowering, value, reshape_sizes(op, value.shape))


def reshaped(lowering: Lowering, value: Value, shape: Sequence[int]) -> Value:
    """A value in another shape, from the order of ONNX."""
    if value.array is not None:
        return stored_value(value.name, value.array.reshape(shape))
    if [n for n in value.shape if n != 1] == [n for n in shape if n != 1]:
        return _with_unit_axes(lowering, value, tuple(shape))
    return value_of(value.name, lowering.reshape(lowering.form(value), shape))


def _with_unit_axes(lowering: Lowering, value: Value, shape: tuple[int, ...]) -> Value:
    """A value that gains or loses axes of size 1, in whatever layout it lies."""
    layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    places = [axis for axis, size in enumerate(shape) if size != 1]
    old = [axis for axis, size in enumerate(value.shape) if size != 1]
    order = [places[old.index(axis)] for axis in layout if value.shape[axis] != 1]
    units = [axis for axis, size in enumerate(shape) if size == 1]
    target = _merged(order, units)
    return value_of(
        value.name, lowering.reshape(tensor, [shape[axis] for axis in target]), tuple(target)
    )


def _merged(order: list[int], units: list[int]) -> list[int]:
    """Axes in an order, with axes of size 1 put where they are in the order of ONNX."""
    if order == sorted(order):
        return sorted([*order, *units])
    if 0 in units:
        units = [axis for axis in units if axis]
        return [0, *_merged(order, units)]
    return [*units, *order]


def _flatten(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    axis = op.axis(value.rank, 1)
    rows = math.prod(value.shape[:axis])
    return reshaped(lowering, value, (rows, math.prod(value.shape[axis:])))


def _squeeze(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    axes = op.axes(value.rank, 1)
    if axes is None:
        axes = [axis for axis, size in enumerate(value.shape) if size == 1]
    kept = [size for axis, size in enumerate(value.shape) if axis not in axes]
    return reshaped(lowering, value, kept)


def _unsqueeze(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    shape = list(value.shape)
    for axis in op.new_axes(value.rank):
        shape.insert(axis, 1)
    return reshaped(lowering, value, shape)


def _transpose(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    order = op.integers("perm") or list(reversed(range(value.rank)))
    if value.array is not None:
        return stored_value(value.name, value.array.transpose(order))
    if not lowering.layouts(value):
        lowering.form(value)
    shape = tuple(value.shape[axis] for axis in order)
    forms = {}
    for layout in lowering.layouts(value):
        forms[after_transpose(layout, order)] = lowering.form(value, layout)
    return Value(value.name, shape, value.dtype, forms)


def _concatenate(lowering: Lowering, op: Operator) -> Result:
    values = [op.input(index) for index in range(len(op.inputs))]
    axis = op.axis(values[0].rank, 0)
    filled = [value for value in values if value.size] or values[:1]
    layout = lowering.common_layout(filled)
    tensors = [lowering.form(value, layout) for value in filled]
    return value_of("", lowering.concatenate(tensors, layout.index(axis)), layout)


def _split(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    axis = op.axis(value.rank, 0)
    sizes = split_sizes(op, value.shape[axis])
    layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    place = layout.index(axis)
    begin = 0
    parts = []
    for size in sizes:
        starts = [0] * value.rank
        starts[place] = begin
        lengths = list(tensor.shape)
        lengths[place] = size
        parts.append(value_of("", lowering.slice(tensor, starts, lengths), layout))
        begin += size
    return tuple(parts)


def _slice(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    ranges = slice_ranges(op, value.shape)
    if value.array is not None:
        places = tuple(slice(r.start, r.stop if r.stop >= 0 else None, r.step) for r in ranges)
        return stored_value(value.name, value.array[places])
    layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    ordered = [ranges[axis] for axis in layout]
    if all(step.step == 1 for step in ordered):
        begin = [places.start for places in ordered]
        size = [len(places) for places in ordered]
        return value_of("", lowering.slice(tensor, begin, size), layout)
    return value_of("", _strided(lowering, tensor, ordered), layout)


def _strided(lowering: Lowering, tensor: Tensor, ranges: Sequence[range]) -> Tensor:
    begin = [places.start for places in ranges]
    end = [max(places.stop, 0) for places in ranges]
    mask = sum(1 << axis for axis, places in enumerate(ranges) if places.stop < 0)
    bounds = [lowering.constant(numbers, "int32") for numbers in (begin, end)]
    steps = lowering.constant([places.step for places in ranges], "int32")
    shape = [len(places) for places in ranges]
    return lowering.emit(
        "STRIDED_SLICE", [tensor, *bounds, steps], shape, tensor.dtype, tensor.quantization,
        endMask=mask,
    )  # fmt: skip


def _pad(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    pads, fill = pad_widths(op, value.rank)
    mode = op.text("mode", "constant")
    layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    widths = [pads[axis] for axis in layout]
    cut = [(max(-before, 0), max(-after, 0)) for before, after in widths]
    begin = [before for before, _ in cut]
    size = [n - before - after for n, (before, after) in zip(tensor.shape, cut, strict=True)]
    tensor = lowering.slice(tensor, begin, size)
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "constant":
        if not math.isfinite(fill):
            fill = float(np.clip(fill, np.finfo(np.float32).min, np.finfo(np.float32).max))
        return value_of("", lowering.pad(tensor, widths, fill), layout)
    kind = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[mode]
    for axis, (before, after) in enumerate(widths):
        if before or after:
            places = np.pad(np.arange(tensor.shape[axis]), (before, after), mode=kind)  # type: ignore[call-overload]
            tensor = lowering.gather(tensor, places, axis)
    return value_of("", tensor, layout)


def _expand(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    target = np.broadcast_shapes(value.shape, tuple(op.input(1).integers()))
    wide = lowering.broadcast(value, len(target))
    layout = lowering.common_layout([wide])
    tensor = lowering.form(wide, layout)
    shape = [target[axis] for axis in layout]
    if tensor.shape == tuple(shape):
        return value_of("", tensor, layout)
    sizes = lowering.constant(shape, "int32")
    return value_of("", lowering.emit("BROADCAST_TO", [tensor, sizes], shape, tensor.dtype), layout)


def _tile(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    repeats = op.input(1).integers()
    layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    ordered = [repeats[axis] for axis in layout]
    shape = [size * count for size, count in zip(tensor.shape, ordered, strict=True)]
    counts = lowering.constant(ordered, "int32")
    return value_of(
        "",
        lowering.emit("TILE", [tensor, counts], shape, tensor.dtype, tensor.quantization),
        layout,
    )


def _depth_to_space(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    block = op.integer("blocksize")
    batch, channels, height, width = value.shape
    inner = channels // (block * block)
    if op.text("mode", "DCR") == "DCR":
        tensor = lowering.form(value, channels_last(4))
        shape = (batch, height * block, width * block, inner)
        result = lowering.emit(
            "DEPTH_TO_SPACE", [tensor], shape, tensor.dtype, tensor.quantization, blockSize=block
        )
        return value_of("", result, channels_last(4))
    parts = lowering.reshape(lowering.form(value), (batch, inner, block, block, height, width))
    split = value_of("", parts)
    moved = lowering.form(split, (0, 1, 4, 2, 5, 3))
    return value_of("", lowering.reshape(moved, (batch, inner, height * block, width * block)))


def _space_to_depth(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    block = op.integer("blocksize")
    batch, channels, height, width = value.shape
    tensor = lowering.form(value, channels_last(4))
    shape = (batch, height // block, width // block, channels * block * block)
    result = lowering.emit(
        "SPACE_TO_DEPTH", [tensor], shape, tensor.dtype, tensor.quantization, blockSize=block
    )
    return value_of("", result, channels_last(4))


def _constant(lowering: Lowering, op: Operator) -> Result:
    tensor = stored_tensor(op.node.outputs[0])
    if tensor is None:
        raise UnsupportedError("texts")
    return stored_value("", np.array(tensor.numpy()))


def _shape(lowering: Lowering, op: Operator) -> Result:
    shape = op.input(0).shape
    start = op.integer("start")
    end = op.integer("end", len(shape))
    return stored_value("", np.array(shape[start:end], np.int64))


def _size(lowering: Lowering, op: Operator) -> Result:
    return stored_value("", np.array(op.input(0).size, np.int64))


def _constant_of_shape(lowering: Lowering, op: Operator) -> Result:
    shape = op.input(0).integers()
    attribute = op.node.attributes.get("value")
    fill: Array = np.zeros(1, np.float32)
    if attribute is not None:
        fill = np.array(attribute.as_tensor().numpy())
    return stored_value("", np.full(shape, fill.reshape(-1)[0]))


def _range(lowering: Lowering, op: Operator) -> Result:
    start, limit, delta = (op.input(index).numbers().reshape(-1)[0] for index in range(3))
    return stored_value("", np.arange(start, limit, delta, dtype=start.dtype))


def _triangle(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    mask = triangle(op, value.shape)
    layout = natural(value.rank)
    tensor = lowering.form(value, layout)
    kept = lowering.constant(mask.reshape((1,) * (value.rank - 2) + mask.shape), "bool")
    zeros = lowering.constant(np.zeros((1,) * value.rank), tensor.dtype)
    return value_of(
        "", lowering.emit("SELECT_V2", [kept, tensor, zeros], tensor.shape, tensor.dtype)
    )


MOVEMENT: Mapping[str, Function] = {
    "Concat": _concatenate,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
