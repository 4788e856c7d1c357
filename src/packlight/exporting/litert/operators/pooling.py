"""Pooling over windows and over all positions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from packlight.exporting.litert.flatbuffer import Tensor
from packlight.exporting.litert.layouts import channels_last
from packlight.exporting.litert.lowering import (
    Function,
    Lowering,
    Result,
    from_spatial,
    spatial_form,
)
from packlight.exporting.litert.operators.convolutions import VALID, padded
from packlight.exporting.litert.values import Operator, UnsupportedError, value_of
from packlight.exporting.windows import Window, as_two_axes, window_of

LOWEST = float(np.finfo(np.float32).min)
LOWEST_CODE = -128


def _pool(name: str, lowering: Lowering, x: Tensor, window: Window, padding: int) -> Tensor:
    shape = (x.shape[0], *window.outputs(x.shape[1:3]), x.shape[3])
    return lowering.emit(
        name, [x], shape, x.dtype, x.quantization,
        padding=padding,
        strideH=window.strides[0], strideW=window.strides[1],
        filterHeight=window.kernel[0], filterWidth=window.kernel[1],
    )  # fmt: skip


def _plane_window(op: Operator) -> Window:
    x = op.input(0)
    window = as_two_axes(window_of(op, x.shape[2:], op.integers("kernel_shape")))
    if any(step > 1 for step in window.dilations):
        raise UnsupportedError("dilations")
    return window


def _max_pool(lowering: Lowering, op: Operator) -> Result:
    if len(op.node.outputs) > 1 and list(op.node.outputs[1].uses()):
        raise UnsupportedError("indices as an output")
    window = _plane_window(op)
    x = spatial_form(lowering, op.input(0))
    fill = LOWEST_CODE if x.dtype == "int8" else LOWEST
    return from_spatial(
        lowering, pooled(lowering, "MAX_POOL_2D", x, window, fill), op.input(0).rank
    )


def pooled(lowering: Lowering, name: str, x: Tensor, window: Window, fill: float) -> Tensor:
    """Pool (batch, height, width, channels), what is padded filled with a number."""
    shape = window.outputs(x.shape[1:3])
    x, padding = padded(lowering, x, window, fill)
    inner = window
    if padding == VALID:
        inner = Window(window.kernel, window.strides, window.dilations, (0, 0), (0, 0))
    result = _pool(name, lowering, x, inner, padding)
    assert result.shape[1:3] == shape
    return result


def _average_pool(lowering: Lowering, op: Operator) -> Result:
    window = _plane_window(op)
    rank = op.input(0).rank
    x = spatial_form(lowering, op.input(0))
    if window.is_valid:
        return from_spatial(lowering, pooled(lowering, "AVERAGE_POOL_2D", x, window, 0), rank)
    counts_padding = bool(op.integer("count_include_pad"))
    if not counts_padding and window.is_same(x.shape[1:3]):
        return from_spatial(lowering, pooled(lowering, "AVERAGE_POOL_2D", x, window, 0), rank)
    factor = _count_correction(op, x, window, counts_padding=counts_padding)
    spatial = list(zip(window.before, window.after, strict=True))
    filled = lowering.pad(x, [(0, 0), *spatial, (0, 0)])
    inner = Window(window.kernel, window.strides, window.dilations, (0, 0), (0, 0))
    result = _pool("AVERAGE_POOL_2D", lowering, filled, inner, VALID)
    if not np.all(factor == 1):
        result = lowering.binary("MUL", result, lowering.constant(factor))
    return from_spatial(lowering, result, rank)


def _count_correction(
    op: Operator, x: Tensor, window: Window, *, counts_padding: bool
) -> np.ndarray:
    """Window size over numbers counted at each position (1, height, width, 1)."""
    stated = op.integers("pads") or [0] * 4
    half = len(stated) // 2
    behind = [0, *stated[half:]][-2:]
    if op.text("auto_pad", "NOTSET") != "NOTSET":
        behind = list(window.after)
    shares = []
    for axis, size in enumerate(x.shape[1:3]):
        counted = np.zeros(size + window.before[axis] + window.after[axis])
        begin = window.before[axis]
        end = window.before[axis] + size
        if counts_padding:
            begin = 0
            end = end + behind[axis]
        counted[begin:end] = 1
        steps = range(0, counted.size - window.kernel[axis] + 1, window.strides[axis])
        sums = [counted[start : start + window.kernel[axis]].sum() for start in steps]
        shares.append(window.kernel[axis] / np.array(sums))
    return (shares[0][:, None] * shares[1][None, :])[None, :, :, None].astype(np.float32)


def _global_pool(name: str, lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    layout = channels_last(x.rank)
    tensor = lowering.form(x, layout)
    axes = list(range(1, x.rank - 1))
    return value_of("", lowering.reduce(name, tensor, axes, keep=True), layout)


POOLING: Mapping[str, Function] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": partial(_global_pool, "MEAN"),
    "GlobalMaxPool": partial(_global_pool, "REDUCE_MAX"),
    "MaxPool": _max_pool,
}
