"""Operators that move numbers: shapes, slices, padding, repetition, resizing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from packlight.exporting.coreml.lowering import Function, Lowering, Operator, Result, Var
from packlight.exporting.coreml.operators.elementwise import first, like, moved, spread
from packlight.exporting.operator_view import UnsupportedError
from packlight.exporting.sampling import (
    nearest_positions,
    resize_coordinates,
    resize_matrix,
    resize_target,
)
from packlight.exporting.slicing import (
    pad_widths,
    reshape_sizes,
    slice_ranges,
    split_sizes,
    triangle,
)

DEPTH_TO_SPACE = {
    "DCR": ("depth_to_space", "block_size"),
    "CRD": ("pixel_shuffle", "upscale_factor"),
}
"""Operators of MIL by the mode of DepthToSpace, with the name of their argument."""


def _reshape(lowering: Lowering, op: Operator) -> Result:
    return lowering.op("reshape", x=first(lowering, op), shape=reshape_sizes(op, op.input(0).shape))


def _flatten(lowering: Lowering, op: Operator) -> Result:
    shape = op.input(0).shape
    axis = op.axis(len(shape), 1)
    rows = math.prod(shape[:axis])
    return lowering.op("reshape", x=first(lowering, op), shape=[rows, math.prod(shape[axis:])])


def _squeeze(lowering: Lowering, op: Operator) -> Result:
    shape = op.input(0).shape
    axes = op.axes(len(shape), 1)
    if axes is None:
        axes = [axis for axis, size in enumerate(shape) if size == 1]
    return lowering.op("squeeze", x=first(lowering, op), axes=axes)


def _unsqueeze(lowering: Lowering, op: Operator) -> Result:
    axes = op.new_axes(op.input(0).rank)
    return lowering.op("expand_dims", x=first(lowering, op), axes=axes)


def _transpose(lowering: Lowering, op: Operator) -> Result:
    order = op.integers("perm") or list(reversed(range(op.input(0).rank)))
    return lowering.op("transpose", x=first(lowering, op), perm=order)


def _concatenate(lowering: Lowering, op: Operator) -> Result:
    values = [lowering.var(op.input(index)) for index in range(len(op.inputs))]
    return lowering.op("concat", values=values, axis=op.axis(op.input(0).rank, 0))


def _split(lowering: Lowering, op: Operator) -> Result:
    shape = op.input(0).shape
    axis = op.axis(len(shape), 0)
    sizes = split_sizes(op, shape[axis])
    x = first(lowering, op)
    begin = 0
    parts = []
    for size in sizes:
        starts = [0] * len(shape)
        starts[axis] = begin
        lengths = list(shape)
        lengths[axis] = size
        parts.append(lowering.op("slice_by_size", x=x, begin=starts, size=lengths))
        begin += size
    return tuple(parts)


def _slice(lowering: Lowering, op: Operator) -> Result:
    ranges = slice_ranges(op, op.input(0).shape)
    x = first(lowering, op)
    if all(places.step == 1 for places in ranges):
        begin = [places.start for places in ranges]
        return lowering.op(
            "slice_by_size", x=x, begin=begin, size=[len(places) for places in ranges]
        )
    for axis, places in enumerate(ranges):
        if places != range(op.input(0).shape[axis]):
            positions = np.array(places, np.int32)
            x = gathered(lowering, x, positions, axis)
    return x


def gathered(lowering: Lowering, x: Var, positions: object, axis: int) -> Var:
    """Numbers at positions along an axis, counted from the start."""
    return moved(
        lowering, "gather", x, indices=positions, axis=axis, batch_dims=0, validate_indices=False
    )


def _pad(lowering: Lowering, op: Operator) -> Result:
    x = first(lowering, op)
    shape = op.input(0).shape
    widths, fill = pad_widths(op, len(shape))
    mode = op.text("mode", "constant")
    cut = [(max(-before, 0), max(-after, 0)) for before, after in widths]
    if any(before or after for before, after in cut):
        begin = [before for before, _ in cut]
        size = [n - before - after for n, (before, after) in zip(shape, cut, strict=True)]
        x = lowering.op("slice_by_size", x=x, begin=begin, size=size)
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "constant":
        pads = [number for pair in widths for number in pair]
        number = like(lowering, x, fill)
        return lowering.op("pad", x=x, pad=pads, mode="constant", constant_val=number)
    for axis, (before, after) in enumerate(widths):
        if before or after:
            places = np.pad(np.arange(x.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]
            x = gathered(lowering, x, places.astype(np.int32), axis)
    return x


def _expand(lowering: Lowering, op: Operator) -> Result:
    shape = np.broadcast_shapes(op.input(0).shape, tuple(op.stored_integers(1)))
    return spread(lowering, first(lowering, op), shape)


def _tile(lowering: Lowering, op: Operator) -> Result:
    return moved(lowering, "tile", first(lowering, op), reps=op.stored_integers(1))


def _depth_to_space(lowering: Lowering, op: Operator) -> Result:
    kind, key = DEPTH_TO_SPACE[op.text("mode", "DCR")]
    return lowering.op(kind, x=first(lowering, op), **{key: op.integer("blocksize")})


def _space_to_depth(lowering: Lowering, op: Operator) -> Result:
    return lowering.op("space_to_depth", x=first(lowering, op), block_size=op.integer("blocksize"))


def _cumulative_sum(lowering: Lowering, op: Operator) -> Result:
    return lowering.op(
        "cumsum", x=first(lowering, op), axis=op.stored_integers(1)[0] % op.input(0).rank,
        exclusive=bool(op.integer("exclusive")), reverse=bool(op.integer("reverse")),
    )  # fmt: skip


def _largest(lowering: Lowering, op: Operator) -> Result:
    values, places = lowering.op(
        "topk", x=first(lowering, op), k=op.stored_integers(1)[0],
        axis=op.axis(op.input(0).rank, -1), ascending=not op.integer("largest", 1),
    )  # fmt: skip
    return values, places


def _triangle(lowering: Lowering, op: Operator) -> Result:
    mask = lowering.array(triangle(op, op.input(0).shape))
    return lowering.op("mul", x=first(lowering, op), y=mask)


def _resize(lowering: Lowering, op: Operator) -> Result:
    value = op.input(0)
    sizes, scales = resize_target(op, value.shape)
    mode = op.text("mode", "nearest")
    if op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise UnsupportedError("tf_crop_and_resize")
    if op.integer("antialias"):
        raise UnsupportedError("antialias")
    x = first(lowering, op)
    for axis, size in enumerate(sizes):
        if size == value.shape[axis]:
            continue
        places = resize_coordinates(op, value.shape[axis], size, scales[axis])
        if mode == "nearest":
            positions = nearest_positions(op, places, value.shape[axis])
            x = gathered(lowering, x, positions, axis)
        else:
            matrix = resize_matrix(op, mode, places, value.shape[axis])
            x = _along(lowering, x, matrix, axis)
    return x


def _along(lowering: Lowering, x: Var, matrix: object, axis: int) -> Var:
    """A product with a matrix (new, old) along an axis."""
    rank = len(x.shape)
    order = [place for place in range(rank) if place != axis] + [axis]
    moved = lowering.op("transpose", x=x, perm=order)
    product = lowering.product(moved, lowering.array(matrix), transpose_y=True)
    return lowering.op("transpose", x=product, perm=[order.index(place) for place in range(rank)])


MOVEMENT: Mapping[str, Function] = {
    "Concat": _concatenate,
    "CumSum": _cumulative_sum,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _largest,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
