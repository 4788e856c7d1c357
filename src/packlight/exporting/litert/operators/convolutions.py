"""Convolutions over one, two and three axes, and their transposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packlight.exporting.litert.flatbuffer import Array, Tensor
from packlight.exporting.litert.layouts import Layout, channels_last
from packlight.exporting.litert.lowering import (
    Function,
    Lowering,
    Result,
    from_spatial,
    spatial_form,
)
from packlight.exporting.litert.stored import with_axis
from packlight.exporting.litert.values import Operator, UnsupportedError, Value, value_of
from packlight.exporting.windows import Window, as_two_axes, transposed_window_of, window_of

SAME = 0
VALID = 1

LINE_RANK = 3
PLANE_RANK = 4
VOLUME_RANK = 5
FILTER_RANKS = (LINE_RANK, PLANE_RANK)
"""Axes of the weights that kernels over two spatial axes take."""

DEPTHWISE_LAYOUT = (1, 2, 3, 0)
"""(outputs, 1, height, width) as (1, height, width, outputs)."""


def _convolve(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    weight = op.input(1)
    if x.rank == VOLUME_RANK:
        return _convolve_volume(lowering, op)
    window = window_of(op, x.shape[2:], weight.shape[2:])
    kernel = filter_form(lowering, op)
    bias = bias_form(lowering, op.optional(2), weight.shape[0])
    tensor = spatial_form(lowering, x)
    activation, output = lowering.absorb_activation(op.node.outputs[0])
    result = convolution(
        lowering, op, tensor, kernel, bias, window, fusedActivationFunction=activation
    )
    value = from_spatial(lowering, result, x.rank)
    lowering.bind(output, value)
    return value


def is_depthwise(op: Operator) -> bool:
    """Tell whether each input channel has outputs of its own."""
    return op.integer("group", 1) == op.input(0).shape[1] and op.input(1).shape[1] == 1


def filter_layout(op: Operator) -> Layout:
    """Layout of a weight (outputs, inputs, height, width) that the kernel wants."""
    if is_depthwise(op) and op.integer("group", 1) > 1:
        return DEPTHWISE_LAYOUT
    return channels_last(PLANE_RANK)


def filter_form(lowering: Lowering, op: Operator) -> Tensor:
    """The weight as the kernel wants it, with two spatial axes."""
    weight = op.input(1)
    if weight.rank not in FILTER_RANKS:
        raise UnsupportedError(f"{weight.rank - 2} spatial axes")
    return lowering.form(with_second_axis(weight), filter_layout(op))


def with_second_axis(weight: Value) -> Value:
    """A weight over one or two spatial axes as one over two, with its encoding."""
    if weight.rank == PLANE_RANK:
        return weight
    shape = (*weight.shape[:2], 1, weight.shape[2])
    if weight.weight is not None:
        return Value(weight.name, shape, weight.dtype, weight=with_axis(weight.weight, 2))
    if weight.array is None:
        raise UnsupportedError("a computed weight over one axis")
    return Value(weight.name, shape, weight.dtype, array=weight.array.reshape(shape))


def bias_form(lowering: Lowering, bias: Value | None, outputs: int) -> Tensor:
    """The bias, zeros where there is none."""
    if bias is None:
        return lowering.constant(np.zeros(outputs))
    if bias.shape != (outputs,):
        raise UnsupportedError(f"a bias of shape {bias.shape}")
    return lowering.form(bias)


def convolution(
    lowering: Lowering,
    op: Operator,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    window: Window,
    **options: Any,
) -> Tensor:
    """Write CONV_2D or DEPTHWISE_CONV_2D over (batch, height, width, channels)."""
    window = as_two_axes(window)
    sizes = x.shape[1:3]
    shape = (x.shape[0], *window.outputs(sizes), op.input(1).shape[0])
    x, padding = padded(lowering, x, window)
    options |= {
        "padding": padding,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0],
        "dilationWFactor": window.dilations[1],
    }
    name = "CONV_2D"
    if is_depthwise(op) and op.integer("group", 1) > 1:
        name = "DEPTHWISE_CONV_2D"
        options["depthMultiplier"] = shape[-1] // x.shape[-1]
    quantization = options.pop("quantization", None)
    dtype = "float32" if quantization is None else "int8"
    return lowering.emit(name, [x, kernel, bias], shape, dtype, quantization, **options)


def padded(lowering: Lowering, x: Tensor, window: Window, fill: float = 0.0) -> tuple[Tensor, int]:
    """An input with padding that the kernel does not do itself, and the kernel's own padding."""
    if window.is_valid:
        return x, VALID
    if window.is_same(x.shape[1:-1]):
        return x, SAME
    spatial = list(zip(window.before, window.after, strict=True))
    return lowering.pad(x, [(0, 0), *spatial, (0, 0)], fill), VALID


def _convolve_volume(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    weight = op.input(1)
    if op.integer("group", 1) != 1:
        raise UnsupportedError("groups over three axes")
    window = window_of(op, x.shape[2:], weight.shape[2:])
    tensor = lowering.form(x, channels_last(VOLUME_RANK))
    kernel = lowering.form(weight, (2, 3, 4, 1, 0))
    bias = bias_form(lowering, op.optional(2), weight.shape[0])
    shape = (x.shape[0], *window.outputs(x.shape[2:]), weight.shape[0])
    tensor, padding = padded(lowering, tensor, window)
    result = lowering.emit(
        "CONV_3D", [tensor, kernel, bias], shape, "float32",
        padding=padding,
        strideD=window.strides[0], strideH=window.strides[1], strideW=window.strides[2],
        dilationDFactor=window.dilations[0], dilationHFactor=window.dilations[1],
        dilationWFactor=window.dilations[2],
    )  # fmt: skip
    return value_of("", result, channels_last(VOLUME_RANK))


def _convolve_transposed(lowering: Lowering, op: Operator) -> Result:
    x = op.input(0)
    weight = op.input(1)
    if x.rank not in (LINE_RANK, PLANE_RANK):
        raise UnsupportedError(f"{x.rank - 2} spatial axes")
    window = transposed_window_of(op, x.shape[2:], weight.shape[2:])
    group = op.integer("group", 1)
    kernels = _transposed_kernels(lowering, op, window, group)
    tensor = spatial_form(lowering, x)
    plane = as_two_axes(window)
    full = [
        (size - 1) * step + reach
        for size, step, reach in zip(tensor.shape[1:3], plane.strides, plane.reach, strict=True)
    ]
    width = tensor.shape[-1] // group
    parts = []
    for index, kernel in enumerate(kernels):
        part = lowering.slice(tensor, (0, 0, 0, index * width), (*tensor.shape[:3], width))
        shape = (tensor.shape[0], *full, kernel.shape[0])
        parts.append(
            lowering.emit(
                "TRANSPOSE_CONV", [lowering.constant(shape, "int32"), kernel, part], shape,
                "float32", padding=VALID, strideH=plane.strides[0], strideW=plane.strides[1],
            )
        )  # fmt: skip
    result = _cropped(lowering, lowering.concatenate(parts, axis=3), plane)
    bias = op.optional(2)
    if bias is not None:
        result = lowering.binary("ADD", result, lowering.form(bias))
    return from_spatial(lowering, result, x.rank)


def _transposed_kernels(
    lowering: Lowering, op: Operator, window: Window, group: int
) -> list[Tensor]:
    """Weights (inputs, outputs, positions...) of each group as (outputs, height, width, inputs)."""
    weight = op.input(1)
    spread = any(step > 1 for step in window.dilations)
    if group == 1 and not spread and weight.rank == PLANE_RANK:
        return [lowering.form(weight, (1, 2, 3, 0))]
    array = _spread(weight.numbers(), window)
    if array.ndim == LINE_RANK:
        array = array[:, :, None, :]
    parts = np.split(array, group, axis=0)
    return [lowering.constant(part.transpose(1, 2, 3, 0)) for part in parts]


def _spread(weight: Array, window: Window) -> Array:
    """A dilated weight with its zeros written out."""
    result = np.zeros((*weight.shape[:2], *window.reach), np.float32)
    places = tuple(slice(None, None, step) for step in window.dilations)
    result[(slice(None), slice(None), *places)] = weight
    return result


def _cropped(lowering: Lowering, tensor: Tensor, window: Window) -> Tensor:
    """A full result without its padding, with zeros behind where the padding is negative."""
    begin = [0, *window.before, 0]
    end = [0, *window.after, 0]
    size = [
        length - max(front, 0) - max(back, 0)
        for length, front, back in zip(tensor.shape, begin, end, strict=True)
    ]
    tensor = lowering.slice(tensor, [max(front, 0) for front in begin], size)
    pads = [(max(-front, 0), max(-back, 0)) for front, back in zip(begin, end, strict=True)]
    return lowering.pad(tensor, pads)


CONVOLUTIONS: Mapping[str, Function] = {
    "Conv": _convolve,
    "ConvTranspose": _convolve_transposed,
}
