"""Padding and output sizes of convolutions and pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F

from packlight.torch.values import Operator, Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over the spatial axes; a number for each of them.

    Attributes:
        kernel: sizes of the window.
        strides: steps between windows.
        dilations: steps between elements of a window.
        before: padding at the start.
        after: padding at the end.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """Elements between the first and the last of a window, both included."""
        pairs = zip(self.kernel, self.dilations, strict=True)
        return tuple(dilation * (size - 1) + 1 for size, dilation in pairs)

    @property
    def is_symmetric(self) -> bool:
        """Tell whether the padding is equal at start and end."""
        return self.before == self.after


def window_of(op: Operator, spatial: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of an operator, ``auto_pad`` worked out.

    Args:
        op: a convolution or a pool.
        spatial: sizes of the input.
        kernel: sizes of the window.
    """
    rank = len(spatial)
    strides = tuple(op.integers("strides")) or (1,) * rank
    dilations = tuple(op.integers("dilations")) or (1,) * rank
    pads = op.integers("pads") or [0] * (2 * rank)
    auto_pad = op.text("auto_pad", "NOTSET")
    if auto_pad == "VALID":
        pads = [0] * (2 * rank)
    window = Window(tuple(kernel), strides, dilations, tuple(pads[:rank]), tuple(pads[rank:]))
    if not auto_pad.startswith("SAME"):
        return window
    totals = [
        max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        for size, stride, reach in zip(spatial, strides, window.reach, strict=True)
    ]
    before, after = split_padding(totals, larger_after=auto_pad == "SAME_UPPER")
    return Window(window.kernel, strides, dilations, before, after)


def split_padding(
    totals: Sequence[int], *, larger_after: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split padding into start and end, equal but for an odd element."""
    small = tuple(total // 2 for total in totals)
    large = tuple(total - total // 2 for total in totals)
    if larger_after:
        return small, large
    return large, small


def pad_spatial(x: Tensor, before: Sequence[int], after: Sequence[int], fill: float = 0) -> Tensor:
    """Pad the last axes; negative padding cuts."""
    if not any(before) and not any(after):
        return x
    amounts = [
        amount for pair in zip(reversed(before), reversed(after), strict=True) for amount in pair
    ]
    return F.pad(x, amounts, value=fill)


def output_sizes(window: Window, spatial: Sequence[int], *, ceil: bool) -> list[int]:
    """Number of windows along every axis; with ``ceil`` the last may reach beyond the padding."""
    sizes = []
    for axis, size in enumerate(spatial):
        padded = size + window.before[axis] + window.after[axis]
        stride = window.strides[axis]
        steps = (padded - window.reach[axis]) / stride
        count = (math.ceil(steps) if ceil else math.floor(steps)) + 1
        if ceil and (count - 1) * stride >= size + window.before[axis]:
            count -= 1
        sizes.append(count)
    return sizes
