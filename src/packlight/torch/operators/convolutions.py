"""Convolutions over one, two and three axes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from packlight.torch.operators.fused_activations import apply_activation
from packlight.torch.operators.windows import Window, pad_spatial, split_padding, window_of
from packlight.torch.values import Function, Operator, Tensor

CONVOLUTIONS_BY_RANK = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
IMAGE_RANK = 4
TRANSPOSED_BY_RANK = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def convolve(op: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve (batch, channels, spatial...) with (outputs, channels / group, spatial...)."""
    window = window_of(op, x.shape[2:], weight.shape[2:])
    padding = window.before
    if not window.is_symmetric:
        x = pad_spatial(x, window.before, window.after)
        padding = (0,) * len(window.kernel)
    if _learns(weight) and x.ndim == IMAGE_RANK:
        x = x.contiguous(memory_format=torch.channels_last)
    compute = CONVOLUTIONS_BY_RANK[x.ndim - 2]
    group = op.integer("group", 1)
    result: Tensor = compute(x, weight, bias, window.strides, padding, window.dilations, group)
    return result


def _learns(weight: Tensor) -> bool:
    """Tell whether gradients are asked for: with the channels of a pixel side by side in memory
    those of a depthwise weight take a quarter of the time. Exported programs stay as they are."""
    if torch.compiler.is_exporting():
        return False
    return bool(weight.requires_grad and torch.is_grad_enabled())


def _convolve_transposed(
    op: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Convolve transposed, then cut the padding off and add what ``output_padding`` adds."""
    rank = x.ndim - 2
    window, extra = _transposed_window(op, x, weight)
    compute = TRANSPOSED_BY_RANK[rank]
    group = op.integer("group", 1)
    steps = zip(window.strides, window.dilations, extra, strict=True)
    fits = all(more < max(stride, dilation) for stride, dilation, more in steps)
    result: Tensor
    if window.is_symmetric and fits and min(window.before) >= 0:
        result = compute(
            x, weight, bias, window.strides, window.before, extra, group, window.dilations
        )
        return result
    result = compute(x, weight, None, window.strides, 0, 0, group, window.dilations)
    after = [more - cut for more, cut in zip(extra, window.after, strict=True)]
    result = pad_spatial(result, [-cut for cut in window.before], after)
    if bias is None:
        return result
    return result + bias.reshape(-1, *(1,) * rank)


def _transposed_window(op: Operator, x: Tensor, weight: Tensor) -> tuple[Window, tuple[int, ...]]:
    """The window, and the output padding, of a transposed convolution."""
    spatial = x.shape[2:]
    extra = tuple(op.integers("output_padding")) or (0,) * len(spatial)
    auto_pad = op.text("auto_pad", "NOTSET")
    plain = Operator(op.op_type, op.name, op.opset, {**op.attributes, "auto_pad": "NOTSET"})
    if auto_pad == "VALID":
        plain = Operator(op.op_type, op.name, op.opset, {**op.attributes, "auto_pad": "VALID"})
    window = window_of(plain, spatial, weight.shape[2:])
    wanted_sizes = op.integers("output_shape")[-len(spatial) :]
    if not wanted_sizes and not auto_pad.startswith("SAME"):
        return window, extra
    if not wanted_sizes:
        wanted_sizes = [size * s for size, s in zip(spatial, window.strides, strict=True)]
    totals = [
        window.strides[axis] * (size - 1) + extra[axis] + window.reach[axis] - wanted_sizes[axis]
        for axis, size in enumerate(spatial)
    ]
    before, after = split_padding(totals, larger_after=auto_pad == "SAME_UPPER")
    return Window(window.kernel, window.strides, window.dilations, before, after), extra


def _fused_convolution(
    op: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None, add: Tensor | None = None
) -> Tensor:
    result = convolve(op, x, weight, bias)
    if add is not None:
        result = result + add
    parameters = op.numbers("activation_params")
    return apply_activation(op.text("activation", ""), parameters, result)


def convolve_integers(op: Operator, x: Tensor, weight: Tensor) -> Tensor:
    """Convolve integers exactly: the sums of 8-bit products fit float64 without rounding."""
    return torch.round(convolve(op, x.to(torch.float64), weight.to(torch.float64)))


CONVOLUTIONS: Mapping[str, Function] = {
    "Conv": convolve,
    "ConvTranspose": _convolve_transposed,
}

MICROSOFT_CONVOLUTIONS: Mapping[str, Function] = {"FusedConv": _fused_convolution}
