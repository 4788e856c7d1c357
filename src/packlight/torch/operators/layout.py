"""Operators that move, cut, join or repeat without arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F

from packlight.model import from_start
from packlight.torch.values import (
    DTYPES,
    Function,
    Operator,
    Tensor,
    Value,
    as_tensor,
    integer,
    integers,
)


def _reshape(op: Operator, x: Tensor, shape: Value = None) -> Tensor:
    sizes = op.integers_of("shape", shape)
    if not op.flag("allowzero"):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if -1 in sizes and x.numel() == 0:  # PyTorch cannot tell the open size of nothing
        sizes = [max(size, 0) for size in sizes]
    return x.reshape(sizes)


def _flatten(op: Operator, x: Tensor) -> Tensor:
    axis = from_start(op.integer("axis", 1), x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _transpose(op: Operator, x: Tensor) -> Tensor:
    return x.permute(op.integers("perm", range(x.ndim)[::-1]))


def _axes(op: Operator, axes: Value) -> list[int]:
    return op.integers_of("axes", axes)


def _squeeze(op: Operator, x: Tensor, axes: Value = None) -> Tensor:
    if axes is None and "axes" not in op.attributes:
        return x.reshape([size for size in x.shape if size != 1])
    removed = {axis % x.ndim for axis in _axes(op, axes)}
    return x.reshape([size for axis, size in enumerate(x.shape) if axis not in removed])


def _unsqueeze(op: Operator, x: Tensor, axes: Value = None) -> Tensor:
    names = _axes(op, axes)
    rank = x.ndim + len(names)
    for axis in sorted(axis % rank for axis in names):
        x = x.unsqueeze(axis)
    return x


def _concat(op: Operator, *values: Tensor) -> Tensor:
    return torch.cat(values, op.integer("axis", 1))


def _split(op: Operator, x: Tensor, sizes: Value = None) -> tuple[Tensor, ...]:
    axis = op.integer("axis", 0)
    lengths = op.integers_of("split", sizes)
    if not lengths:
        count = op.integer("num_outputs", op.output_count)
        length = math.ceil(x.shape[axis] / count)
        lengths = [length] * (count - 1)
        lengths.append(x.shape[axis] - sum(lengths))
    parts: tuple[Tensor, ...] = torch.split(x, lengths, axis)
    return parts


def _slice(
    op: Operator,
    x: Tensor,
    starts: Value = None,
    ends: Value = None,
    axes: Value = None,
    steps: Value = None,
) -> Tensor:
    begin = op.integers_of("starts", starts)
    end = op.integers_of("ends", ends)
    names = _axes(op, axes) or list(range(len(begin)))
    strides = integers(steps, [1] * len(begin))
    for axis, first, last, stride in zip(names, begin, end, strides, strict=True):
        x = _slice_axis(x, axis, slice(first, last, stride))
    return x


def _slice_axis(x: Tensor, axis: int, part: slice) -> Tensor:
    """Cut one axis; PyTorch has no negative steps, so they pick positions."""
    size = x.shape[axis]
    first = max(from_start(part.start, size), 0)
    last = from_start(part.stop, size)
    if part.step < 0:
        positions = range(min(first, size - 1), max(last, -1), part.step)
        return x.index_select(
            axis, torch.tensor(list(positions), device=x.device, dtype=torch.int64)
        )
    index = [slice(None)] * x.ndim
    index[axis] = slice(min(first, size), max(min(last, size), 0), part.step)
    return x[tuple(index)]


def _expand(_op: Operator, x: Tensor, shape: Value) -> Tensor:
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(integers(shape))))


def _tile(_op: Operator, x: Tensor, repeats: Value) -> Tensor:
    return x.repeat(integers(repeats))


def _pad(
    op: Operator, x: Tensor, pads: Value = None, fill: Value = None, axes: Value = None
) -> Tensor:
    amounts = op.integers_of("pads", pads, op.integers("paddings"))
    names = [axis % x.ndim for axis in integers(axes, range(x.ndim))]
    value = op.number("value", 0.0)
    if fill is not None:
        value = fill.reshape(-1)[0].item()
    before = dict(zip(names, amounts[: len(names)], strict=True))
    after = dict(zip(names, amounts[len(names) :], strict=True))
    mode = op.text("mode", "constant")
    if mode == "constant":
        pairs = [(before.get(axis, 0), after.get(axis, 0)) for axis in reversed(range(x.ndim))]
        return F.pad(x, [amount for pair in pairs for amount in pair], value=value)
    for axis in names:
        positions = padded_positions(mode, x.shape[axis], before[axis], after[axis])
        if positions != list(range(x.shape[axis])):
            x = x.index_select(axis, torch.tensor(positions, device=x.device))
    return x


def padded_positions(mode: str, size: int, before: int, after: int) -> list[int]:
    """Positions that a padded axis reads, for the modes that repeat what is there."""
    positions = range(-before, size + after)
    if mode == "edge":
        return [min(max(position, 0), size - 1) for position in positions]
    if mode == "wrap":
        return [position % size for position in positions]
    period = max(2 * (size - 1), 1)
    return [min(position % period, period - position % period) for position in positions]


def _depth_to_space(op: Operator, x: Tensor) -> Tensor:
    block = op.integer("blocksize", 1)
    batch, channels, height, width = x.shape
    depth = channels // block**2
    if op.text("mode", "DCR") == "DCR":
        x = x.reshape(batch, block, block, depth, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(batch, depth, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, depth, height * block, width * block)


def _space_to_depth(op: Operator, x: Tensor) -> Tensor:
    block = op.integer("blocksize", 1)
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // block, block, width // block, block)
    order = (0, 3, 5, 1, 2, 4)
    if op.text("mode", "DCR") == "CRD":
        order = (0, 1, 3, 5, 2, 4)
    x = x.permute(order)
    return x.reshape(batch, channels * block**2, height // block, width // block)


def _triangle(op: Operator, x: Tensor, diagonal: Value = None) -> Tensor:
    offset = integer(diagonal, 0)
    if op.flag("upper", default=True):
        return torch.triu(x, offset)
    return torch.tril(x, offset)


def _eye_like(op: Operator, x: Tensor) -> Tensor:
    rows, columns = x.shape
    offset = op.integer("k")
    dtype = x.dtype
    if "dtype" in op.attributes:
        dtype = DTYPES[ir.DataType(op.integer("dtype"))]
    ones = torch.ones(rows, columns, dtype=dtype, device=x.device)
    return torch.triu(torch.tril(ones, offset), offset)


def _constant_of_shape(op: Operator, shape: Value) -> Tensor:
    fill = op.attributes.get("value")
    sizes = integers(shape)
    if fill is None:
        return torch.zeros(sizes)
    filled: Tensor = as_tensor(fill).reshape(()).expand(sizes)
    return filled


def _range(_op: Operator, start: Value, limit: Value, step: Value) -> Tensor:
    first, last, stride = (value.reshape(()).item() for value in (start, limit, step))
    count = max(math.ceil((last - first) / stride), 0)
    steps = torch.arange(count, device=start.device, dtype=start.dtype)
    numbers: Tensor = steps * stride + first
    return numbers


def _reverse_sequence(op: Operator, x: Tensor, lengths: Value) -> Tensor:
    time = op.integer("time_axis", 0)
    batch = op.integer("batch_axis", 1)
    moved = x.movedim((batch, time), (0, 1))
    return reverse_sequences(moved, integers(lengths)).movedim((0, 1), (batch, time))


def reverse_sequences(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Reverse the first ``length`` steps of each sequence; ``x`` is (sequences, steps, ...)."""
    count = x.shape[1]
    rows = [
        x[index].index_select(
            0,
            torch.tensor([*range(length)[::-1], *range(length, count)], device=x.device),
        )
        for index, length in enumerate(lengths)
    ]
    return torch.stack(rows)


def _center_crop_or_pad(op: Operator, x: Tensor, shape: Value) -> Tensor:
    names = op.integers("axes", range(x.ndim))
    for axis, size in zip(names, integers(shape), strict=True):
        more = size - x.shape[axis]
        if more < 0:
            x = x.narrow(axis, -more // 2, size)
        elif more > 0:
            pads = [0] * (2 * x.ndim)
            position = 2 * (x.ndim - 1 - axis % x.ndim)
            pads[position] = more // 2
            pads[position + 1] = more - more // 2
            x = F.pad(x, pads)
    return x


LAYOUT: Mapping[str, Function] = {
    "CenterCropPad": _center_crop_or_pad,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
