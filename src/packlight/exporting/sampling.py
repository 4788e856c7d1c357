"""Where the numbers of a resized value come from, since its sizes are fixed.

Positions for ``nearest``, and a matrix of weights along each axis for the other modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packlight.exporting.operator_view import OperatorView, UnsupportedError

Array = NDArray[Any]

RESIZE_INPUT_OPSET = 11
CUBIC_TAPS = 4


def resize_target(op: OperatorView[Any], shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """Sizes of the result, and the factor along each axis."""
    if op.opset < RESIZE_INPUT_OPSET:
        stated = op.optional(1)
        stated_sizes = None
    else:
        stated = op.optional(2)
        stated_sizes = op.optional(3)
    scales = op.numbers("scales")  # an attribute of Upsample until opset 8
    if stated is not None:
        scales = _floats(stated)
    axes = op.integers("axes") or list(range(len(shape)))
    sizes = list(shape)
    factors = [1.0] * len(shape)
    if scales:
        for axis, scale in zip(axes, scales, strict=True):
            factors[axis] = scale
            sizes[axis] = int(np.floor(shape[axis] * scale))
        return sizes, factors
    if stated_sizes is None:
        raise UnsupportedError("no sizes")
    if op.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("keep_aspect_ratio_policy")
    for axis, size in zip(axes, stated_sizes.numbers().reshape(-1).tolist(), strict=True):
        sizes[axis] = size
        factors[axis] = size / shape[axis]
    return sizes, factors


def _floats(value: Any) -> list[float]:
    return [float(number) for number in value.numbers().reshape(-1)]


def resize_coordinates(op: OperatorView[Any], old: int, new: int, scale: float) -> Array:
    """Position in the old axis of each number of the new one."""
    mode = op.text("coordinate_transformation_mode", "half_pixel")
    if op.opset < RESIZE_INPUT_OPSET:
        mode = "asymmetric"
    place = np.arange(new, dtype=np.float64)
    if mode == "asymmetric":
        return place / scale
    if mode == "align_corners":
        return place * (old - 1) / max(new - 1, 1)
    if mode == "pytorch_half_pixel" and new == 1:
        return np.zeros(1)
    centered = (place + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjustment = new / (old * scale)
        return old / 2 * (1 - adjustment) + centered
    if mode not in ("half_pixel", "pytorch_half_pixel"):
        raise UnsupportedError(mode)
    return centered


def nearest_positions(op: OperatorView[Any], coordinates: Array, size: int) -> Array:
    """Position that each number of a resized axis is taken from."""
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


def resize_matrix(op: OperatorView[Any], mode: str, coordinates: Array, size: int) -> Array:
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


def _cubic_taps(op: OperatorView[Any], ratio: float) -> Array:
    """Keys's kernel at four neighbors."""
    a = op.number("cubic_coeff_a", -0.75)
    distance = np.abs(np.arange(CUBIC_TAPS) - 1 - ratio)
    inner = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    outer = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    taps: Array = np.where(distance <= 1, inner, outer)
    return taps
