"""Operators of MIL that move numbers, or take them by their positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from packlight.exporting.coreml.evaluation.elementwise import Arguments, Array, Kernel, Numbers


def _reshape(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    return x.reshape(tuple(arguments["shape"]))


def _transpose(arguments: Arguments) -> Numbers:
    return np.transpose(arguments["x"], tuple(arguments["perm"]))


def _squeeze(arguments: Arguments) -> Numbers:
    return np.squeeze(arguments["x"], tuple(arguments["axes"]))


def _expand_dims(arguments: Arguments) -> Numbers:
    return np.expand_dims(arguments["x"], tuple(arguments["axes"]))


def _concat(arguments: Arguments) -> Numbers:
    return np.concatenate(arguments["values"], axis=int(arguments["axis"]))


def _stack(arguments: Arguments) -> Numbers:
    return np.stack(arguments["values"], axis=int(arguments["axis"]))


def _slice(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    bounds = zip(arguments["begin"], arguments["size"], strict=True)
    return x[tuple(slice(begin, begin + size) for begin, size in bounds)]


def _gather(arguments: Arguments) -> Numbers:
    return np.take(arguments["x"], arguments["indices"], axis=int(arguments["axis"]))


def _gather_along_axis(arguments: Arguments) -> Numbers:
    return np.take_along_axis(arguments["x"], arguments["indices"], axis=int(arguments["axis"]))


def _gather_nd(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    return x[tuple(np.moveaxis(arguments["indices"], -1, 0))]


def _updated(_old: Numbers, new: Numbers) -> Numbers:
    return new


SCATTER: Mapping[str, Callable[[Numbers, Numbers], Numbers]] = {
    "update": _updated,
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}
"""Number that is put at a position, of the one there and the new one, by mode."""


def _scatter_nd(arguments: Arguments) -> Numbers:
    result = np.array(arguments["data"])
    indices: Array = arguments["indices"]
    combine = SCATTER[arguments["mode"]]
    for row in np.ndindex(*indices.shape[:-1]):
        target = tuple(indices[row])
        result[target] = combine(result[target], arguments["updates"][row])
    return result


def _scatter_along_axis(arguments: Arguments) -> Numbers:
    result = np.array(arguments["data"])
    indices: Array = arguments["indices"]
    combine = SCATTER[arguments["mode"]]
    for position in np.ndindex(*indices.shape):
        target = list(position)
        target[int(arguments["axis"])] = int(indices[position])
        result[tuple(target)] = combine(result[tuple(target)], arguments["updates"][position])
    return result


def _one_hot(arguments: Arguments) -> Numbers:
    count = int(arguments["one_hot_vector_size"])
    indices: Array = arguments["indices"]
    hot: Array = indices[..., None] == np.arange(count)
    result = np.asarray(np.where(hot, arguments["on_value"], arguments["off_value"]))
    return np.moveaxis(result, -1, int(arguments["axis"]))


def _pad(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    flat = [int(number) for number in arguments["pad"]]
    widths = [(0, 0)] * (x.ndim - len(flat) // 2)
    widths += list(zip(flat[::2], flat[1::2], strict=True))
    return np.pad(x, widths, constant_values=arguments["constant_val"])


def _tile(arguments: Arguments) -> Numbers:
    return np.tile(arguments["x"], tuple(arguments["reps"]))


def _depth_to_space(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    block = int(arguments["block_size"])
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, block, block, channels // block**2, height, width)
    moved = parts.transpose(0, 3, 4, 1, 5, 2)
    return moved.reshape(batch, channels // block**2, height * block, width * block)


def _pixel_shuffle(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    block = int(arguments["upscale_factor"])
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels // block**2, block, block, height, width)
    moved = parts.transpose(0, 1, 4, 2, 5, 3)
    return moved.reshape(batch, channels // block**2, height * block, width * block)


def _space_to_depth(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    block = int(arguments["block_size"])
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, height // block, block, width // block, block)
    moved = parts.transpose(0, 3, 5, 1, 2, 4)
    return moved.reshape(batch, channels * block**2, height // block, width // block)


def _cumulative_sum(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    axis = int(arguments["axis"])
    if arguments["reverse"]:
        x = np.flip(x, axis)
    total = np.cumsum(x, axis=axis, dtype=x.dtype)
    if arguments["exclusive"]:
        total = total - x
    if arguments["reverse"]:
        total = np.flip(total, axis)
    return total


def _largest(arguments: Arguments) -> tuple[Numbers, Numbers]:
    x: Array = arguments["x"]
    axis = int(arguments["axis"])
    count = int(arguments["k"])
    ranked = x if arguments["ascending"] else -x
    places = np.take(np.argsort(ranked, axis=axis, kind="stable"), range(count), axis=axis)
    return np.take_along_axis(x, places, axis), places.astype(np.int32)


MOVEMENT: Mapping[str, Kernel] = {
    "concat": _concat,
    "cumsum": _cumulative_sum,
    "depth_to_space": _depth_to_space,
    "expand_dims": _expand_dims,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "one_hot": _one_hot,
    "pad": _pad,
    "pixel_shuffle": _pixel_shuffle,
    "reshape": _reshape,
    "scatter_along_axis": _scatter_along_axis,
    "scatter_nd": _scatter_nd,
    "slice_by_size": _slice,
    "space_to_depth": _space_to_depth,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "topk": _largest,
    "transpose": _transpose,
}
