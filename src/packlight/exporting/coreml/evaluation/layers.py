"""Convolutions, pooling, products, normalizations and reductions of MIL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from packlight.exporting.coreml.evaluation.elementwise import Arguments, Array, Kernel, Numbers

LEADING_AXES = 2
"""Batch and channels, before the axes of space."""


def _sizes(arguments: Arguments, name: str, rank: int) -> list[int]:
    """One number for each axis of space; 1 where they are left out."""
    return [int(number) for number in arguments.get(name, [1] * rank)]


def _padded(x: Array, arguments: Arguments, fill: float = 0.0) -> Numbers:
    if arguments["pad_type"] == "valid":
        return x
    flat = [int(number) for number in arguments["pad"]]
    widths = [(0, 0)] * LEADING_AXES + list(zip(flat[::2], flat[1::2], strict=True))
    return np.pad(x, widths, constant_values=fill)


def _taps(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each element of a window, the numbers that it meets (batch, channels, *positions)."""
    spatial = x.shape[LEADING_AXES:]
    windows = list(zip(spatial, kernel, strides, dilations, strict=True))
    counts = [(size - (k - 1) * gap - 1) // step + 1 for size, k, step, gap in windows]
    for element in np.ndindex(*kernel):
        cut = [slice(None)] * LEADING_AXES
        for axis, position in enumerate(element):
            start = position * dilations[axis]
            stop = start + (counts[axis] - 1) * strides[axis] + 1
            cut.append(slice(start, stop, strides[axis]))
        yield element, x[tuple(cut)]


def _convolve(arguments: Arguments) -> Numbers:
    weight: Array = arguments["weight"]
    kernel = weight.shape[LEADING_AXES:]
    rank = len(kernel)
    x = _padded(arguments["x"], arguments)
    groups = int(arguments.get("groups", 1))
    strides = _sizes(arguments, "strides", rank)
    dilations = _sizes(arguments, "dilations", rank)
    parts = [part for _, part in _taps(x, kernel, strides, dilations)]
    batch, channels, *positions = parts[0].shape
    inner = channels // groups
    elements = math.prod(kernel)
    columns = np.stack(parts, axis=2).reshape(batch, groups, inner * elements, -1)
    rows = weight.reshape(groups, -1, inner * elements)
    result = np.matmul(rows, columns).reshape(batch, -1, *positions)
    bias = arguments.get("bias")
    if bias is None:
        return result
    return result + _along_channels(bias, result.ndim)


def _along_channels(numbers: Array, rank: int) -> Numbers:
    return np.reshape(numbers, (1, -1, *(1,) * (rank - LEADING_AXES)))


def _convolve_transposed(arguments: Arguments) -> Numbers:
    """Each number of the input adds the kernel to the output."""
    x: Array = arguments["x"]
    weight: Array = arguments["weight"]
    groups = int(arguments["groups"])
    kernel = weight.shape[LEADING_AXES:]
    strides = _sizes(arguments, "strides", len(kernel))
    dilations = _sizes(arguments, "dilations", len(kernel))
    result = np.zeros(tuple(arguments["output_shape"]), np.float32)
    batch, channels, *positions = x.shape
    columns = x.reshape(batch, groups, channels // groups, -1)
    rows = weight.reshape(groups, channels // groups, weight.shape[1], *kernel)
    for element in np.ndindex(*kernel):
        cut = [slice(None)] * LEADING_AXES
        for axis, offset in enumerate(element):
            start = offset * dilations[axis]
            stop = start + (positions[axis] - 1) * strides[axis] + 1
            cut.append(slice(start, stop, strides[axis]))
        matrix = rows[(slice(None), slice(None), slice(None), *element)].transpose(0, 2, 1)
        result[tuple(cut)] += np.matmul(matrix, columns).reshape(batch, -1, *positions)
    return result


def _largest_in_window(arguments: Arguments) -> Numbers:
    x = _padded(arguments["x"], arguments, -np.inf)
    kernel = _sizes(arguments, "kernel_sizes", 0)
    rank = len(kernel)
    parts = _taps(x, kernel, _sizes(arguments, "strides", rank), [1] * rank)
    result = next(parts)[1]
    for _, part in parts:
        result = np.maximum(result, part)
    return result


def _mean_of_window(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    kernel = _sizes(arguments, "kernel_sizes", 0)
    rank = len(kernel)
    strides = _sizes(arguments, "strides", rank)

    def total(numbers: Array) -> Numbers:
        padded = _padded(numbers, arguments)
        return np.sum([part for _, part in _taps(padded, kernel, strides, [1] * rank)], axis=0)

    if arguments["exclude_padding_from_average"]:
        counts = total(np.ones_like(x[:1, :1]))
        return np.divide(total(x), counts)
    return np.divide(total(x), np.float32(math.prod(kernel)))


def _product(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    y: Array = arguments["y"]
    if arguments.get("transpose_x"):
        x = np.swapaxes(x, -1, -2)
    if arguments.get("transpose_y"):
        y = np.swapaxes(y, -1, -2)
    return np.matmul(x, y)


def _normalized(x: Array, axes: Sequence[int], epsilon: float) -> Numbers:
    centered = x - x.mean(axis=tuple(axes), keepdims=True)
    variance = np.square(centered).mean(axis=tuple(axes), keepdims=True)
    return centered / np.sqrt(variance + epsilon)


def _layer_norm(arguments: Arguments) -> Numbers:
    result = _normalized(arguments["x"], arguments["axes"], arguments["epsilon"])
    result = result * arguments["gamma"]
    beta = arguments.get("beta")
    if beta is None:
        return result
    return result + beta


def _instance_norm(arguments: Arguments) -> Numbers:
    x: Array = arguments["x"]
    result = _normalized(x, range(LEADING_AXES, x.ndim), arguments["epsilon"])
    result = result * _along_channels(arguments["gamma"], x.ndim)
    return result + _along_channels(arguments["beta"], x.ndim)


def _reduce(function: Callable[..., Array], arguments: Arguments) -> Numbers:
    axes = tuple(int(axis) for axis in arguments["axes"])
    return function(arguments["x"], axis=axes, keepdims=bool(arguments["keep_dims"]))


def _length(x: Array, **where: Any) -> Numbers:
    return np.sqrt(np.sum(np.square(x), **where))


def _absolute_sum(x: Array, **where: Any) -> Numbers:
    return np.sum(np.abs(x), **where)


def _sum_of_squares(x: Array, **where: Any) -> Numbers:
    return np.sum(np.square(x), **where)


def _log_sum_exp(x: Array, **where: Any) -> Numbers:
    from scipy.special import logsumexp  # noqa: PLC0415  scipy takes long to load

    return logsumexp(x, **where)


def _argument(function: Callable[..., Array], arguments: Arguments) -> Numbers:
    places = function(
        arguments["x"], axis=int(arguments["axis"]), keepdims=bool(arguments["keep_dims"])
    )
    return places.astype(np.int32)


def _quantize(arguments: Arguments) -> Numbers:
    x: Array = arguments["input"]
    kind = arguments["output_dtype"]
    limits = np.iinfo(kind)
    scale, zero = _grid(arguments, x.ndim)
    codes = np.rint(x / scale) + zero
    return np.clip(codes, limits.min, limits.max).astype(kind)


def _dequantize(arguments: Arguments) -> Numbers:
    codes: Array = arguments["input"]
    scale, zero = _grid(arguments, codes.ndim)
    return np.multiply(codes.astype(np.float32) - zero, scale)


def _grid(arguments: Arguments, rank: int) -> tuple[Numbers, Numbers]:
    """Scale and zero point, in a shape that spreads to the rank."""
    scale = np.asarray(arguments["scale"], np.float32)
    zero = np.asarray(arguments["zero_point"], np.float32)
    if scale.ndim == 0:
        return scale, zero
    shape = [1] * rank
    shape[int(arguments["axis"])] = -1
    return scale.reshape(shape), zero.reshape(shape)


REDUCERS: Mapping[str, Callable[..., Array]] = {
    "reduce_l1_norm": _absolute_sum,
    "reduce_l2_norm": _length,
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": _sum_of_squares,
}

LAYERS: Mapping[str, Kernel] = {
    **{name: partial(_reduce, function) for name, function in REDUCERS.items()},
    "avg_pool": _mean_of_window,
    "conv": _convolve,
    "conv_transpose": _convolve_transposed,
    "dequantize": _dequantize,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "matmul": _product,
    "max_pool": _largest_in_window,
    "quantize": _quantize,
    "reduce_argmax": partial(_argument, np.argmax),
    "reduce_argmin": partial(_argument, np.argmin),
}
