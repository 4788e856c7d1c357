"""Windows of convolutions and pooling as ONNX states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from packlight.exporting.operator_view import OperatorView, UnsupportedError


@dataclass(frozen=True, slots=True)
class Window:
    """A window along each spatial axis.

    Attributes:
        kernel: its size.
        strides: its steps.
        dilations: steps between its elements.
        before: numbers added in front.
        after: numbers added behind.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """Numbers from the first to the last element of the window."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def outputs(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Positions of the window along each axis, given sizes without padding."""
        padded = zip(sizes, self.before, self.after, self.reach, self.strides, strict=True)
        return tuple((n + a + b - reach) // step + 1 for n, a, b, reach, step in padded)

    def is_same(self, sizes: Sequence[int]) -> bool:
        """Tell whether the padding is what TensorFlow calls SAME."""
        for axis, size in enumerate(sizes):
            step = self.strides[axis]
            total = max((-(-size // step) - 1) * step + self.reach[axis] - size, 0)
            if self.before[axis] != total // 2 or self.after[axis] != total - total // 2:
                return False
        return True

    @property
    def is_valid(self) -> bool:
        """True without padding."""
        return not any(self.before) and not any(self.after)


def window_of(op: OperatorView[Any], sizes: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of an operator; one spatial axis becomes the second of two.

    Args:
        op: convolution or pooling.
        sizes: spatial sizes of its input.
        kernel: of its weight, or of its attribute.
    """
    rank = len(sizes)
    strides = op.integers("strides") or [1] * rank
    dilations = op.integers("dilations") or [1] * rank
    pads = op.integers("pads") or [0] * (2 * rank)
    window = Window(
        tuple(kernel), tuple(strides), tuple(dilations), tuple(pads[:rank]), tuple(pads[rank:])
    )
    auto_pad = op.text("auto_pad", "NOTSET")
    if auto_pad.startswith("SAME"):
        window = _same(window, sizes, more_after=auto_pad == "SAME_UPPER")
    elif auto_pad == "VALID":
        window = Window(*_fields(window), (0,) * rank, (0,) * rank)
    if op.integer("ceil_mode"):
        window = _rounded_up(window, sizes)
    if min(*window.before, *window.after) < 0:
        raise UnsupportedError("negative padding")
    return window


def _fields(window: Window) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernel, strides and dilations."""
    return window.kernel, window.strides, window.dilations


def _same(window: Window, sizes: Sequence[int], *, more_after: bool) -> Window:
    axes = zip(sizes, window.strides, window.reach, strict=True)
    totals = [max((-(-size // step) - 1) * step + reach - size, 0) for size, step, reach in axes]
    small = tuple(total // 2 for total in totals)
    large = tuple(total - total // 2 for total in totals)
    if more_after:
        return Window(*_fields(window), small, large)
    return Window(*_fields(window), large, small)


def _rounded_up(window: Window, sizes: Sequence[int]) -> Window:
    """Padding behind that gives the positions that ``ceil_mode`` adds."""
    after = list(window.after)
    for axis, size in enumerate(sizes):
        padded = size + window.before[axis] + window.after[axis]
        step = window.strides[axis]
        positions = -(-(padded - window.reach[axis]) // step) + 1
        if (positions - 1) * step >= size + window.before[axis]:
            positions -= 1  # a window must begin inside the input or the padding in front
        after[axis] += max((positions - 1) * step + window.reach[axis] - padded, 0)
    return Window(*_fields(window), window.before, tuple(after))


def transposed_window_of(
    op: OperatorView[Any], sizes: Sequence[int], kernel: Sequence[int]
) -> Window:
    """The window of a transposed convolution; ``after`` counts ``output_padding`` as negative."""
    rank = len(sizes)
    strides = op.integers("strides") or [1] * rank
    dilations = op.integers("dilations") or [1] * rank
    pads = op.integers("pads") or [0] * (2 * rank)
    extra = op.integers("output_padding") or [0] * rank
    before = list(pads[:rank])
    after = [pad - more for pad, more in zip(pads[rank:], extra, strict=True)]
    window = Window(tuple(kernel), tuple(strides), tuple(dilations), tuple(before), tuple(after))
    auto_pad = op.text("auto_pad", "NOTSET")
    stated_sizes = op.integers("output_shape")[-rank:]
    if auto_pad.startswith("SAME") and not stated_sizes:
        stated_sizes = [size * step for size, step in zip(sizes, strides, strict=True)]
    if not stated_sizes:
        if auto_pad == "VALID":
            after = [-more for more in extra]
            return Window(*_fields(window), (0,) * rank, tuple(after))
        return window
    for axis, size in enumerate(sizes):
        total = (size - 1) * strides[axis] + window.reach[axis] - stated_sizes[axis] + extra[axis]
        before[axis] = total - total // 2
        if auto_pad == "SAME_UPPER":
            before[axis] = total // 2
        after[axis] = total - before[axis] - extra[axis]
    return Window(*_fields(window), tuple(before), tuple(after))


def as_two_axes(window: Window) -> Window:
    """A window over one axis as one over two, of which the first has one element."""
    if len(window.kernel) > 1:
        return window
    return Window(
        (1, *window.kernel), (1, *window.strides), (1, *window.dilations),
        (0, *window.before), (0, *window.after),
    )  # fmt: skip
