"""Resize, as one of LiteRT's kernels or as a product along each axis.

Shapes are fixed, so that where a result's numbers come from is known: positions for ``nearest``, a
matrix of weights for the others. That follows ONNX in every mode; kernels of LiteRT are used where
they give the same positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from packlight.exporting.litert.flatbuffer import Array, Tensor
from packlight.exporting.litert.layouts import channels_last
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.operators.products import fully_connected
from packlight.exporting.litert.values import Operator, UnsupportedError, Value, value_of
from packlight.exporting.sampling import (
    nearest_positions,
    resize_coordinates,
    resize_matrix,
    resize_target,
)

PLANE_RANK = 4


def _resize(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    sizes, scales = resize_target(op, x.shape)
    mode = op.text("mode", "nearest")
    if op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise UnsupportedError("tf_crop_and_resize")
    if op.integer("antialias"):
        raise UnsupportedError("antialias")
    axes = [axis for axis in range(x.rank) if sizes[axis] != x.shape[axis]]
    coordinates = {
        axis: resize_coordinates(op, x.shape[axis], sizes[axis], scales[axis]) for axis in axes
    }
    if mode == "linear" and x.rank == PLANE_RANK and set(axes) <= {2, 3}:
        result = _bilinear(lowering, op, x, sizes, coordinates)
        if result is not None:
            return result
    layout = channels_last(x.rank)
    tensor = lowering.form(x, layout)
    for axis in axes:
        place = layout.index(axis)
        if mode == "nearest":
            positions = nearest_positions(op, coordinates[axis], x.shape[axis])
            tensor = lowering.gather(tensor, positions, place)
        else:
            matrix = resize_matrix(op, mode, coordinates[axis], x.shape[axis])
            tensor = _along(lowering, tensor, matrix, place)
    return value_of("", tensor, layout)


def _along(lowering: Lowering, tensor: Tensor, matrix: Array, place: int) -> Tensor:
    """A product with a matrix along an axis as stored."""
    value = value_of("", tensor)
    order = (*(axis for axis in range(value.rank) if axis != place), place)
    moved = lowering.form(value, order)
    product = fully_connected(lowering, moved, lowering.constant(matrix), None)
    return lowering.form(value_of("", product, order))


def _bilinear(
    lowering: Lowering,
    op: Operator,
    x: Value,
    sizes: Sequence[int],
    coordinates: Mapping[int, Array],
) -> Result | None:
    """RESIZE_BILINEAR, where its positions are the same; else None."""
    for half_pixel, corners in ((True, False), (False, True), (False, False)):
        same = all(
            np.allclose(
                _kernel_coordinates(x.shape[axis], sizes[axis], half_pixel, corners),
                places, atol=1e-9,
            )
            for axis, places in coordinates.items()
        )  # fmt: skip
        if same:
            tensor = lowering.form(x, channels_last(PLANE_RANK))
            target = lowering.constant(sizes[2:], "int32")
            shape = (x.shape[0], *sizes[2:], x.shape[1])
            result = lowering.emit(
                "RESIZE_BILINEAR", [tensor, target], shape, tensor.dtype, tensor.quantization,
                alignCorners=corners, halfPixelCenters=half_pixel,
            )  # fmt: skip
            return value_of("", result, channels_last(PLANE_RANK))
    return None


def _kernel_coordinates(old: int, new: int, half_pixel: bool, corners: bool) -> Array:
    place = np.arange(new, dtype=np.float64)
    if corners:
        return place * (old - 1) / max(new - 1, 1)
    if half_pixel:
        return (place + 0.5) * old / new - 0.5
    return place * old / new


def _upsample(lowering: Lowering, op: Operator) -> Result:
    return _resize(lowering, op)


RESIZING: Mapping[str, Function] = {"Resize": _resize, "Upsample": _upsample}
