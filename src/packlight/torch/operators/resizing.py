"""Resize, Upsample and GridSample.

Source: the specification of ``Resize`` of ONNX: coordinates, filters, and what lies outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from packlight.torch.values import (
    Array,
    Function,
    Operator,
    Tensor,
    Value,
    along_axis,
    integers,
    numbers,
)

COORDINATES_FROM = 11
"""Opset from which Resize states where it reads."""

ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


KEPT_RATIO: Mapping[str, Callable[[Sequence[float]], float]] = {
    "not_larger": min,
    "not_smaller": max,
}
"""Choice of the factor that all axes share, by ``keep_aspect_ratio_policy``."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis to resize.

    Attributes:
        index: of the axis.
        size: before.
        target: size afterwards.
        scale: of the two, as stated.
        start: of the region that is read, as a share of the size.
        end: of that region.
    """

    index: int
    size: int
    target: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def _resize(
    op: Operator, x: Tensor, roi: Value = None, scales: Value = None, sizes: Value = None
) -> Tensor:
    if op.opset < COORDINATES_FROM:
        scales = roi
        roi = None
    if scales is None and sizes is None:  # Upsample until opset 8
        scales = np.array(op.numbers("scales"))
    axes = [axis for axis in _axes(op, x, roi, scales, sizes) if _changes(op, axis)]
    native = _native(op, x, axes)
    if native is not None:
        return native
    resize_axis = _resize_filtered
    if op.text("mode", "nearest") == "nearest":
        resize_axis = _resize_nearest
    dtype = x.dtype
    for axis in axes:
        x = resize_axis(op, x, axis)
    if op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        x = _extrapolate(op, x, axes)
    return x.to(dtype)


def _changes(op: Operator, axis: Axis) -> bool:
    cropped = op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    return axis.size != axis.target or axis.scale != 1 or cropped


def _axes(op: Operator, x: Tensor, roi: Value, scales: Value, sizes: Value) -> list[Axis]:
    names = [axis % x.ndim for axis in op.integers("axes", range(x.ndim))]
    region = numbers(roi)
    if op.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize":
        region = []
    region = region or [0.0] * len(names) + [1.0] * len(names)
    starts = region[: len(names)]
    ends = region[len(names) :]
    if scales is not None and len(numbers(scales)):
        factors = numbers(scales)
        targets = [
            math.floor(x.shape[axis] * (end - start) * factor)
            for axis, factor, start, end in zip(names, factors, starts, ends, strict=True)
        ]
    else:
        targets = _kept_ratio(op, [x.shape[axis] for axis in names], integers(sizes))
        factors = [size / x.shape[axis] for axis, size in zip(names, targets, strict=True)]
    parts = zip(names, targets, factors, starts, ends, strict=True)
    return [
        Axis(axis, x.shape[axis], target, factor, start, end)
        for axis, target, factor, start, end in parts
    ]


def _kept_ratio(op: Operator, before: Sequence[int], sizes: list[int]) -> list[int]:
    """Sizes, changed where the ratio of the axes is to be kept."""
    policy = op.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes
    factors = [size / old for size, old in zip(sizes, before, strict=True)]
    factor = KEPT_RATIO[policy](factors)
    return [math.floor(factor * old + 0.5) for old in before]


def _native(op: Operator, x: Tensor, axes: list[Axis]) -> Tensor | None:
    """PyTorch's own operator where it computes the same, so that runtimes know it; else None."""
    spatial = [axis.index for axis in axes] == list(range(2, x.ndim))
    mode = op.text("coordinate_transformation_mode", "half_pixel")
    if not spatial or x.ndim != 4 or not x.is_floating_point():  # noqa: PLR2004
        return None
    if any(axis.target != axis.size * axis.scale for axis in axes) or op.flag("antialias"):
        return None
    targets = [axis.target for axis in axes]
    linear = op.text("mode", "nearest") == "linear" and op.opset >= COORDINATES_FROM
    if linear and mode in ("half_pixel", "align_corners") and min(targets) > 1:
        aligned = mode == "align_corners"
        return F.interpolate(x, targets, mode="bilinear", align_corners=aligned)
    return None


def _positions(op: Operator, axis: Axis) -> Array:
    """Where each element of the result reads, in elements of the input."""
    default = "half_pixel" if op.opset >= COORDINATES_FROM else "asymmetric"
    mode = op.text("coordinate_transformation_mode", default)
    return COORDINATES[mode](np.arange(axis.target, dtype=np.float64), axis)


def _asymmetric(index: Array, axis: Axis) -> Array:
    return index / axis.scale


def _align_corners(index: Array, axis: Axis) -> Array:
    return index * ((axis.size - 1) / max(axis.target - 1, 1))


def _half_pixel(index: Array, axis: Axis) -> Array:
    return (index + 0.5) / axis.scale - 0.5


def _half_pixel_symmetric(index: Array, axis: Axis) -> Array:
    adjustment = axis.target / (axis.scale * axis.size)
    return axis.size / 2 * (1 - adjustment) + _half_pixel(index, axis)


def _half_pixel_of_pytorch(index: Array, axis: Axis) -> Array:
    if axis.target == 1:
        return np.zeros(1)
    return _half_pixel(index, axis)


def _half_pixel_for_nearest(index: Array, axis: Axis) -> Array:
    return (index + 0.5) / axis.scale


def _crop_and_resize(index: Array, axis: Axis) -> Array:
    last = axis.size - 1
    if axis.target == 1:
        return np.array([0.5 * (axis.start + axis.end) * last])
    return axis.start * last + index * ((axis.end - axis.start) * last / (axis.target - 1))


COORDINATES: Mapping[str, Callable[[Array, Axis], Array]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _half_pixel_of_pytorch,
    "tf_crop_and_resize": _crop_and_resize,
    "tf_half_pixel_for_nn": _half_pixel_for_nearest,
}
"""Where elements of a result lie in the input, by ``coordinate_transformation_mode``."""


def _resize_nearest(op: Operator, x: Tensor, axis: Axis) -> Tensor:
    rounding = op.text("nearest_mode", "round_prefer_floor")
    if op.opset < COORDINATES_FROM:
        rounding = "floor" if axis.scale >= 1 else "ceil"
    positions = ROUNDINGS[rounding](_positions(op, axis))
    inside = np.clip(positions, 0, axis.size - 1).astype(np.int64)
    return x.index_select(axis.index, torch.tensor(inside.tolist(), device=x.device))


def _resize_filtered(op: Operator, x: Tensor, axis: Axis) -> Tensor:
    """Multiply an axis with the filter's matrix (target, size)."""
    wide = torch.promote_types(x.dtype, torch.float32)
    matrix = torch.tensor(_filter_matrix(op, axis).tolist(), dtype=wide, device=x.device)
    moved = x.to(wide).movedim(axis.index, -1)
    return torch.matmul(moved, matrix.t()).movedim(-1, axis.index)


def _filter_matrix(op: Operator, axis: Axis) -> Array:
    positions = _positions(op, axis)
    shrink = min(axis.scale, 1.0) if op.flag("antialias") else 1.0
    reach, weigh = FILTERS.get(op.text("mode", "nearest"), FILTERS["linear"])
    start = math.floor(-reach / shrink) + 1
    taps = np.arange(start, 2 - start)
    matrix = np.zeros((axis.target, axis.size))
    for row, position in enumerate(positions):
        base = math.floor(position)
        distances = np.abs(taps - (position - base)) * shrink
        weights = weigh(distances, op)
        columns = base + taps
        if op.flag("exclude_outside"):
            weights = np.where((columns >= 0) & (columns < axis.size), weights, 0)
        weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(columns, 0, axis.size - 1), weights)
    return matrix


def _linear(distance: Array, _op: Operator) -> Array:
    weights: Array = np.clip(1 - distance, 0, 1)
    return weights


def _cubic(distance: Array, op: Operator) -> Array:
    a = op.number("cubic_coeff_a", -0.75)
    inner = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    outer = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    weights: Array = np.where(distance <= 1, inner, np.where(distance < 2, outer, 0))  # noqa: PLR2004
    return weights


FILTERS: Mapping[str, tuple[int, Callable[[Array, Operator], Array]]] = {
    "linear": (1, _linear),
    "cubic": (2, _cubic),
}
"""How many elements a filter reaches to each side, and its weight at a distance."""


def _extrapolate(op: Operator, x: Tensor, axes: list[Axis]) -> Tensor:
    """Put a value where a result reads outside the input."""
    value = torch.full_like(x, op.number("extrapolation_value", 0.0))
    for axis in axes:
        positions = _positions(op, axis)
        outside = (positions < 0) | (positions > axis.size - 1)
        mask = torch.tensor(outside.tolist(), device=x.device)
        x = torch.where(along_axis(mask, axis.index, x.ndim), value, x)
    return x


GRID_MODES = {"linear": "bilinear", "cubic": "bicubic"}


def _grid_sample(op: Operator, x: Tensor, grid: Tensor) -> Tensor:
    mode = op.text("mode", "linear")
    return F.grid_sample(
        x,
        grid.to(x.dtype),
        mode=GRID_MODES.get(mode, mode),
        padding_mode=op.text("padding_mode", "zeros"),
        align_corners=op.flag("align_corners"),
    )


RESIZING: Mapping[str, Function] = {
    "GridSample": _grid_sample,
    "Resize": _resize,
    "Upsample": _resize,
}
