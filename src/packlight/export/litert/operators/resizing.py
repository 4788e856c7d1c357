"""Resize, as one of LiteRT's kernels or as a product along each axis.

Shapes are fixed, so that where a result's numbers come from is known: positions for ``nearest``, a
matrix of weights for the others. That follows ONNX in every mode; kernels of LiteRT are used where
they give the same positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from packlight.export.litert.flatbuffer import Array, Tensor
from packlight.export.litert.layouts import channels_last
from packlight.export.litert.lowering import Function, Lowering, Result
from packlight.export.litert.operators.products import fully_connected
from packlight.export.litert.values import Operator, UnsupportedError, Value, value_of

PLANE_RANK = 4
RESIZE_INPUT_OPSET = 11
CUBIC_TAPS = 4


def _resize(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    sizes, scales = _target(op, x)
    mode = op.text("mode", "nearest")
    if op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise UnsupportedError("tf_crop_and_resize")
    if op.integer("antialias"):
        raise UnsupportedError("antialias")
    axes = [axis for axis in range(x.rank) if sizes[axis] != x.shape[axis]]
    coordinates = {
        axis: _coordinates(op, x.shape[axis], sizes[axis], scales[axis]) for axis in axes
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
            positions = _nearest(op, coordinates[axis], x.shape[axis])
            tensor = lowering.gather(tensor, positions, place)
        else:
            matrix = _matrix(op, mode, coordinates[axis], x.shape[axis])
            tensor = _along(lowering, tensor, matrix, place)
    return value_of("", tensor, layout)


def _target(op: Operator, x: Value) -> tuple[list[int], list[float]]:
    """Sizes of the result, and the factor along each axis."""
    if op.opset < RESIZE_INPUT_OPSET:
        given, wanted = op.optional(1), None
        scales = op.numbers("scales") if given is None else _floats(given)
    else:
        given, wanted = op.optional(2), op.optional(3)
        scales = [] if given is None else _floats(given)
    axes = op.integers("axes") or list(range(x.rank))
    sizes = list(x.shape)
    factors = [1.0] * x.rank
    if scales:
        for axis, scale in zip(axes, scales, strict=True):
            factors[axis] = scale
            sizes[axis] = int(np.floor(x.shape[axis] * scale))
        return sizes, factors
    if wanted is None:
        raise UnsupportedError("no sizes")
    if op.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("keep_aspect_ratio_policy")
    for axis, size in zip(axes, wanted.integers(), strict=True):
        sizes[axis] = size
        factors[axis] = size / x.shape[axis]
    return sizes, factors


def _floats(value: Value) -> list[float]:
    return [float(number) for number in value.numbers().reshape(-1)]


def _coordinates(op: Operator, old: int, new: int, scale: float) -> Array:
    """Position in the old axis of each number of the new one."""
    mode = op.text("coordinate_transformation_mode", "half_pixel")
    if op.opset < RESIZE_INPUT_OPSET:
        mode = "asymmetric"
    place = np.arange(new, dtype=np.float64)
    if mode == "asymmetric":
        return place / scale
    if mode == "align_corners":
        return place * (old - 1) / (new - 1) if new > 1 else np.zeros(new)
    if mode == "pytorch_half_pixel" and new == 1:
        return np.zeros(1)
    centered = (place + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjustment = new / (old * scale)
        return old / 2 * (1 - adjustment) + centered
    if mode not in ("half_pixel", "pytorch_half_pixel"):
        raise UnsupportedError(mode)
    return centered


def _nearest(op: Operator, coordinates: Array, size: int) -> Array:
    mode = op.text("nearest_mode", "round_prefer_floor")
    if op.opset < RESIZE_INPUT_OPSET:
        mode = "floor"
    if mode == "floor":
        positions = np.floor(coordinates)
    elif mode == "ceil":
        positions = np.ceil(coordinates)
    elif mode == "round_prefer_floor":
        positions = np.ceil(coordinates - 0.5)
    else:
        positions = np.floor(coordinates + 0.5)
    places: Array = np.clip(positions, 0, size - 1).astype(np.int32)
    return places


def _matrix(op: Operator, mode: str, coordinates: Array, size: int) -> Array:
    """Weights of the old numbers in the new ones (new, old)."""
    matrix = np.zeros((len(coordinates), size))
    whole = np.floor(coordinates).astype(int)
    for row, (start, position) in enumerate(zip(whole, coordinates, strict=True)):
        ratio = position - start
        taps = _linear_taps(ratio) if mode == "linear" else _cubic_taps(op, ratio)
        places = start + np.arange(len(taps)) - (len(taps) // 2 - 1)
        inside = (places >= 0) & (places < size)
        if op.integer("exclude_outside"):
            taps = np.where(inside, taps, 0)
            taps = taps / taps.sum()
        np.add.at(matrix[row], np.clip(places, 0, size - 1), taps)
    return matrix.astype(np.float32)


def _linear_taps(ratio: float) -> Array:
    return np.array([1 - ratio, ratio])


def _cubic_taps(op: Operator, ratio: float) -> Array:
    """Keys's kernel at four neighbors."""
    a = op.number("cubic_coeff_a", -0.75)
    distance = np.abs(np.arange(CUBIC_TAPS) - 1 - ratio)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    taps: Array = np.where(distance <= 1, near, far)
    return taps


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
        return place * (old - 1) / (new - 1) if new > 1 else np.zeros(new)
    if half_pixel:
        return (place + 0.5) * old / new - 0.5
    return place * old / new


def _upsample(lowering: Lowering, op: Operator) -> Result:
    return _resize(lowering, op)


RESIZING: Mapping[str, Function] = {"Resize": _resize, "Upsample": _upsample}
