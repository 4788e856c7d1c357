"""Stored weights as tensors of LiteRT, with their encodings kept.

Codes get a DEQUANTIZE of their own, which the interpreter runs once as it starts: operators then
compute in float, as they do in ONNX. Codes that go straight into an operator would make it round
its activations to 8 bits at every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import ml_dtypes
import numpy as np

from packlight.exporting.blocks import whole_blocks
from packlight.exporting.litert.flatbuffer import Array, FileBuilder, Quantization, Tensor
from packlight.exporting.litert.layouts import Layout, Shape, natural
from packlight.exporting.litert.values import UnsupportedError
from packlight.exporting.weights import FloatWeight, GridWeight, Shared, StoredWeight

CODE_TYPES: Mapping[int, type] = {4: ml_dtypes.int4, 8: np.int8}
"""Types of the codes that LiteRT stores, by their bits."""

SHORTEST_ROW = 8
"""Codes that share a scale, at least, where blocks become rows."""


def is_coded(weight: StoredWeight | None) -> bool:
    """Tell whether a weight is stored in codes that LiteRT has."""
    return (
        weight is not None
        and isinstance(weight.encoding, GridWeight)
        and weight.encoding.bits in CODE_TYPES
    )


def store_weight(
    builder: FileBuilder, weight: StoredWeight, layout: Layout
) -> tuple[Tensor, Layout]:
    """Store a weight as it is encoded, and write what makes it float32.

    Args:
        builder: of the file.
        weight: with its encoding.
        layout: in which it is wanted.

    Returns:
        tensor: of float32.
        layout: in which it is; the order of ONNX where its blocks do not allow the other.
    """
    encoding = weight.encoding
    if isinstance(encoding, GridWeight) and encoding.bits in CODE_TYPES:
        return _coded(builder, weight, encoding, layout)
    if isinstance(encoding, FloatWeight) and encoding.array.dtype == np.float16:
        half = encoding.array.reshape(weight.shape).transpose(layout)
        stored = builder.store(f"{weight.name}.half", half)
        builder.record(weight.name, weight.form(), half.nbytes)
        return restored(builder, weight.name, stored), layout
    array = np.asarray(weight.decode(), np.float32)
    return builder.store(weight.name, array.transpose(layout)), layout


def restored(builder: FileBuilder, name: str, codes: Tensor) -> Tensor:
    """The real values of codes."""
    output = builder.tensor(name, codes.shape, "float32")
    builder.operator("DEQUANTIZE", [codes], [output])
    return output


def _coded(
    builder: FileBuilder, weight: StoredWeight, grid: GridWeight, layout: Layout
) -> tuple[Tensor, Layout]:
    axes = grid.scale.axes(grid.shape)
    blocked = any(grid.scale.block[axis] > 1 for axis in axes) or len(axes) > 1
    if weight.is_in_layout and not blocked:
        return restored(builder, weight.name, store_codes(builder, weight, grid, layout)), layout
    divided = whole_blocks(grid, SHORTEST_ROW)
    if divided is None:
        raise UnsupportedError(f"short blocks at the end of '{weight.name}'")
    grid = divided
    arranged = layout
    if not weight.is_in_layout or not _lies_in_rows(grid, layout):
        arranged = natural(len(weight.shape))
    order = arranged if weight.is_in_layout else natural(len(grid.shape))
    if not _lies_in_rows(grid, order):
        raise UnsupportedError(f"blocks of '{weight.name}' whose codes are not neighbors")
    rows, quantization = _rows(grid, order)
    stored = builder.store(f"{weight.name}.codes", rows, quantization)
    builder.record(weight.name, weight.form(), _code_bytes(grid, quantization))
    shape = tuple(weight.shape[axis] for axis in arranged)
    return _reshaped(builder, weight.name, restored(builder, weight.name, stored), shape), arranged


def _reshaped(builder: FileBuilder, name: str, tensor: Tensor, shape: Shape) -> Tensor:
    output = builder.tensor(name, shape, "float32")
    sizes = builder.store("", np.array(shape, np.int32))
    builder.operator("RESHAPE", [tensor, sizes], [output], newShape=np.array(shape, np.int32))
    return output


def store_codes(
    builder: FileBuilder, weight: StoredWeight, grid: GridWeight, layout: Layout
) -> Tensor:
    """Store the codes of a weight whose scales are those of channels or of the whole."""
    codes, quantization = _grid_tensor(grid, layout)
    builder.record(weight.name, weight.form(), _code_bytes(grid, quantization))
    return builder.store(f"{weight.name}.codes", codes, quantization)


def _code_bytes(grid: GridWeight, quantization: Quantization) -> int:
    return -(-grid.codes.size * grid.bits // 8) + 4 * len(quantization.scale)


def _grid_tensor(grid: GridWeight, layout: Layout) -> tuple[Array, Quantization]:
    axes = grid.scale.axes(grid.shape)
    scale = grid.scale.values.reshape(-1)
    zero = np.zeros(1, np.int64)
    if grid.zero is not None:
        zero = grid.zero.values.astype(np.int64).reshape(-1)
    axis = next((layout.index(axis) for axis in axes), 0)
    quantization = _quantization(grid, scale, zero, axis)
    return _signed(grid).transpose(layout), quantization


def _quantization(grid: GridWeight, scale: Array, zero: Array, axis: int) -> Quantization:
    """Scales and zero points (scales,) as LiteRT states them; its codes are signed."""
    signed = np.broadcast_to(zero - grid.middle, scale.shape)
    return Quantization(tuple(map(float, scale)), tuple(map(int, signed)), axis)


def _signed(grid: GridWeight) -> Array:
    codes: Array = (grid.codes.astype(np.int16) - grid.middle).astype(CODE_TYPES[grid.bits])
    return codes


def _lies_in_rows(grid: GridWeight, layout: Layout) -> bool:
    """Tell whether the codes of each scale are neighbors in a layout."""
    shape = [grid.shape[axis] for axis in layout]
    block = [min(grid.scale.block[axis], grid.shape[axis]) for axis in layout]
    first = next((place for place, size in enumerate(block) if size > 1), len(shape))
    return all(block[place] == shape[place] for place in range(first + 1, len(shape)))


def _rows(grid: GridWeight, layout: Layout) -> tuple[Array, Quantization]:
    """Codes with a row for each scale (scales, codes of a scale)."""
    scale = grid.scale.values.transpose(layout).reshape(-1)
    zero = np.zeros(1, np.int64)
    if grid.zero is not None:
        zero = grid.zero.values.astype(np.int64).transpose(layout).reshape(-1)
    rows = _signed(grid).transpose(layout).reshape(scale.size, -1)
    return rows, _quantization(grid, scale, zero, 0)


def sliced(weight: StoredWeight, index: int) -> StoredWeight:
    """One slice of a weight along its first axis, with its encoding."""
    encoding = weight.encoding
    name = weight.name
    shape = weight.shape[1:]
    if not isinstance(encoding, GridWeight) or not weight.is_in_layout:
        return StoredWeight(name, FloatWeight(weight.decode()[index]), shape, weight.dtype)
    grid = encoding.with_shared(encoding.codes[index], lambda shared: shared.at(index))
    return StoredWeight(name, grid, shape, weight.dtype)


def with_axis(weight: StoredWeight, axis: int) -> StoredWeight:
    """A weight with an axis of size 1 more, with its encoding."""
    shape = (*weight.shape[:axis], 1, *weight.shape[axis:])
    encoding = weight.encoding
    if not isinstance(encoding, GridWeight) or not weight.is_in_layout:
        array = weight.decode()
        if isinstance(encoding, FloatWeight):
            array = encoding.array
        return StoredWeight(weight.name, FloatWeight(array.reshape(shape)), shape, weight.dtype)
    codes = np.expand_dims(encoding.codes, axis)
    grid = encoding.with_shared(codes, partial(_with_axis_of_one, axis=axis))
    return StoredWeight(weight.name, grid, shape, weight.dtype)


def _with_axis_of_one(shared: Shared, *, axis: int) -> Shared:
    block = (*shared.block[:axis], 1, *shared.block[axis:])
    return Shared(np.expand_dims(shared.values, axis), block)
