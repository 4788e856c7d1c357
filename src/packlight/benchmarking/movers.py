"""What is timed of kernels that memory bounds: chains of one operator, of drawn sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from packlight.benchmarking.blocks import convolved
from packlight.benchmarking.bodies import Body, chosen, drawn
from packlight.benchmarking.draft import Draft

LEAST = 2**7
MOST = 2**20
"""Numbers of a value."""

Step = Callable[[Draft, ir.Value], ir.Value]


def _sized(draft: Draft) -> ir.Value:
    count = drawn(draft, LEAST, MOST)
    width = min(count, drawn(draft, 8, 1024))
    return draft.feed(1, max(1, count // width), width)


def chain(step: Step, most: int = 8) -> Body:
    """Chain of one operator, several times."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        x = _sized(draft)
        for _ in range(chosen(draft, 2, 4, most)):
            x = step(draft, x)
        return [x]

    return body


def plain(op: str) -> Body:
    """A chain of an operator that reads one value."""
    return chain(lambda draft, x: draft.op(op, x))


def with_number(op: str, number: float) -> Body:
    """A chain of an operator that also reads a stored number."""
    return chain(lambda draft, x: draft.op(op, x, draft.numbers(number)))


def added(draft: Draft) -> Sequence[ir.Value]:
    """Sums of two values of one shape."""
    first = x = _sized(draft)
    for step in range(chosen(draft, 2, 4, 16)):
        x = draft.op("Add" if step % 2 else "Sub", x, first)
    return [x]


def biases(draft: Draft) -> Sequence[ir.Value]:
    """Sums with a stored row."""
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    for _ in range(chosen(draft, 2, 4)):
        x = draft.op("Add", x, draft.keep(draft.spread((width,))))
    return [x]


def swish(draft: Draft, x: ir.Value) -> ir.Value:
    """x times its sigmoid."""
    return draft.op("Mul", x, draft.op("Sigmoid", x))


def layer_norm(draft: Draft) -> Sequence[ir.Value]:
    """Layer normalizations."""
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    for _ in range(chosen(draft, 1, 2)):
        stored = [draft.keep(draft.spread((width,))) for _ in "ab"]
        x = draft.op("LayerNormalization", x, *stored)
    return [x]


def picture(draft: Draft) -> tuple[ir.Value, int]:
    """An input of channels and pixels, and how many channels it has."""
    channels = drawn(draft, 8, 256, 8)
    side = drawn(draft, 5, 64)
    return draft.feed(1, channels, side, side), channels


def batchnorm(draft: Draft) -> Sequence[ir.Value]:
    """Batch normalizations by themselves."""
    x, channels = picture(draft)
    for _ in range(2):
        stored = [draft.keep(draft.spread((channels,))) for _ in range(4)]
        x = draft.op("BatchNormalization", draft.op("LeakyRelu", x), *stored)
    return [x]


def turned(draft: Draft) -> Sequence[ir.Value]:
    """Transpositions, each of the input."""
    heads = drawn(draft, 2, 16)
    tokens = drawn(draft, 2, 256)
    width = drawn(draft, 8, 128, 8)
    x = draft.feed(1, tokens, heads, width)
    return [draft.op("Transpose", x, perm=perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1])]


def resized(draft: Draft) -> Sequence[ir.Value]:
    """A picture twice as large, each pixel repeated."""
    x, _ = picture(draft)
    scales = draft.keep(np.array([1, 1, 2, 2], np.float32))
    nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return [draft.op("Resize", x, None, scales, mode="nearest", **nearest)]


def copied(draft: Draft) -> Sequence[ir.Value]:
    """Two values side by side, and parts of that."""
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    joined = draft.op("Concat", x, draft.op("Neg", x), axis=1)
    part = draft.op("Slice", joined, draft.whole(1), draft.whole(width), draft.whole(2))
    return [joined, part] if width > 1 else [joined]


def gathered(draft: Draft) -> Sequence[ir.Value]:
    """Rows of a stored table."""
    count = drawn(draft, 1, 256)
    width = drawn(draft, 8, 512)
    return [
        draft.op("Gather", draft.keep(draft.spread((1000, width))), draft.feed(1, count, most=999))
    ]


def reduced(draft: Draft) -> Sequence[ir.Value]:
    """Means over the last axis, and over the pixels of pictures."""
    x = _sized(draft)
    y = picture(draft)[0]
    return [draft.op("ReduceMean", x, draft.whole(2), keepdims=1),
            draft.op("ReduceMean", y, draft.whole(2, 3), keepdims=1)]  # fmt: skip


def pooled(draft: Draft) -> Sequence[ir.Value]:
    """Windows that slide over what a convolution gives, and one that holds all of it."""
    x, channels = picture(draft)
    x = convolved(draft, x, channels, channels, 1)
    size = chosen(draft, 2, 3, 5)
    stride = chosen(draft, 1, 2)
    op = ("MaxPool", "AveragePool")[chosen(draft, 0, 1)]
    x = draft.op(op, x, kernel_shape=[size, size], strides=[stride, stride])
    return [draft.op("GlobalAveragePool", x)]


def coded(draft: Draft) -> Sequence[ir.Value]:
    """Numbers to codes and back."""
    return [draft.coded(_sized(draft))]
