"""Stored weights as tensors of LiteRT, with their encodings kept.

Codes get a DEQUANTIZE of their own, which the interpreter runs once as it starts: operators then
compute in float, as they do in ONNX. Codes that go straight into an operator would make it round
its activations to 8 bits at every run.
"""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from packlight.export.litert.flatbuffer import Array, FileBuilder, Quantization, Tensor
from packlight.export.litert.layouts import Layout, stored_shape
from packlight.export.litert.values import UnsupportedError
from packlight.export.weights import FloatWeight, GridWeight, StoredWeight

BIAS_BITS = 32
BITS = (4, 8)
"""Widths of codes that LiteRT stores."""


def store_weight(builder: FileBuilder, weight: StoredWeight, layout: Layout) -> Tensor:
    """A weight as float32 in a layout, stored as it is encoded."""
    encoding = weight.encoding
    if isinstance(encoding, GridWeight) and encoding.bits in BITS:
        return _dequantized(builder, weight.name, encoding, layout)
    if isinstance(encoding, FloatWeight) and encoding.array.dtype == np.float16:
        half = builder.store(f"{weight.name}.half", encoding.array.transpose(layout))
        return _restored(builder, weight.name, half)
    array = np.asarray(weight.decode(), np.float32)
    return builder.store(weight.name, array.transpose(layout))


def _restored(builder: FileBuilder, name: str, codes: Tensor) -> Tensor:
    output = builder.tensor(name, codes.shape, "float32")
    builder.operator("DEQUANTIZE", [codes], [output])
    return output


def _dequantized(builder: FileBuilder, name: str, grid: GridWeight, layout: Layout) -> Tensor:
    shape = stored_shape(grid.shape, layout)
    blocked = [axis for axis in grid.scale.axes(grid.shape) if grid.scale.block[axis] > 1]
    if not blocked and len(grid.scale.axes(grid.shape)) <= 1:
        codes, quantization = grid_tensor(grid, layout)
        stored = builder.store(f"{name}.codes", codes, quantization)
        return _restored(builder, name, stored)
    rows, quantization = _block_rows(grid, layout)
    stored = builder.store(f"{name}.codes", rows, quantization)
    restored = _restored(builder, name, stored)
    output = builder.tensor(name, shape, "float32")
    sizes = builder.store("", np.array(shape, np.int32))
    builder.operator("RESHAPE", [restored, sizes], [output], newShape=np.array(shape, np.int32))
    return output


def grid_tensor(grid: GridWeight, layout: Layout) -> tuple[Array, Quantization]:
    """Codes of a weight in a layout as LiteRT's signed integers, and their scales.

    Raises:
        UnsupportedError: neighbors along an axis share a scale, or scales vary along two axes.
    """
    axes = grid.scale.axes(grid.shape)
    if len(axes) > 1 or any(grid.scale.block[axis] > 1 for axis in axes):
        raise UnsupportedError(f"scales of blocks along axes {axes}")
    axis = layout.index(axes[0]) if axes else 0
    scale = grid.scale.values.reshape(-1)
    offset = 0 if grid.is_signed else 1 << (grid.bits - 1)
    zero = np.zeros(1, np.int64)
    if grid.zero is not None:
        zero = grid.zero.values.astype(np.int64).reshape(-1)
    zero = np.broadcast_to(zero - offset, scale.shape)
    codes = grid.codes.astype(np.int16) - offset
    kind = ml_dtypes.int4 if grid.bits == BITS[0] else np.int8
    quantization = Quantization(
        tuple(float(number) for number in scale), tuple(int(number) for number in zero), axis
    )
    return codes.astype(kind).transpose(layout), quantization


def _block_rows(grid: GridWeight, layout: Layout) -> tuple[Array, Quantization]:
    """Codes as one row for each scale (scales, codes of a scale).

    Raises:
        UnsupportedError: the codes of a scale do not lie in a row.
    """
    codes = grid.codes.transpose(layout)
    shape = codes.shape
    block = tuple(grid.scale.block[axis] for axis in layout)
    block = tuple(min(size, length) for size, length in zip(block, shape, strict=True))
    length = math.prod(block)
    begins = [axis for axis, size in enumerate(block) if size > 1]
    first = begins[0] if begins else len(shape) - 1
    whole = all(block[axis] == shape[axis] for axis in range(first + 1, len(shape)))
    if not whole or not grid.scale.divides(grid.shape) or grid.zero is not None:
        raise UnsupportedError("blocks whose codes are not neighbors")
    offset = 0 if grid.is_signed else 1 << (grid.bits - 1)
    kind = ml_dtypes.int4 if grid.bits == BITS[0] else np.int8
    rows = (codes.astype(np.int16) - offset).reshape(-1, length).astype(kind)
    scale = grid.scale.values.transpose(layout).reshape(-1)
    zeros = (0,) * scale.size
    return rows, Quantization(tuple(float(number) for number in scale), zeros, 0)
