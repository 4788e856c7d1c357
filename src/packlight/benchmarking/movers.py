"""Models that are timed for kernels that memory bounds: chains of one operator of random sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from packlight.benchmarking.bodies import Body, random_choice, random_size, same_convolution
from packlight.benchmarking.draft import Draft

LEAST = 2**7
MOST = 2**20
"""Numbers of a value."""

Step = Callable[[Draft, ir.Value], ir.Value]


def _sized(draft: Draft) -> ir.Value:
    count = random_size(draft, LEAST, MOST)
    width = min(count, random_size(draft, 8, 1024))
    return draft.feed(1, max(1, count // width), width)


def chain(step: Step, most: int = 8) -> Body:
    """Chain of one operator, several times."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        x = _sized(draft)
        for _ in range(random_choice(draft, 2, 4, most)):
            x = step(draft, x)
        return [x]

    return body


def chain_of(op: str) -> Body:
    """A chain of an operator that reads one value."""
    return chain(lambda draft, x: draft.op(op, x))


def chain_with_number(op: str, number: float) -> Body:
    """A chain of an operator that also reads a stored number."""
    return chain(lambda draft, x: draft.op(op, x, draft.numbers(number)))


def sums(draft: Draft) -> Sequence[ir.Value]:
    """Sums of two values of one shape."""
    first = x = _sized(draft)
    for step in range(random_choice(draft, 2, 4, 16)):
        x = draft.op(("Sub", "Add")[step % 2], x, first)
    return [x]


def biases(draft: Draft) -> Sequence[ir.Value]:
    """Sums with a stored row."""
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    for _ in range(random_choice(draft, 2, 4)):
        x = draft.op("Add", x, draft.keep(draft.spread((width,))))
    return [x]


def swish(draft: Draft, x: ir.Value) -> ir.Value:
    """x times its sigmoid."""
    return draft.op("Mul", x, draft.op("Sigmoid", x))


def layer_norms(draft: Draft) -> Sequence[ir.Value]:
    """Layer normalizations."""
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    for _ in range(random_choice(draft, 1, 2)):
        stored = [draft.keep(draft.spread((width,))) for _ in "ab"]
        x = draft.op("LayerNormalization", x, *stored)
    return [x]


def picture(draft: Draft) -> tuple[ir.Value, int]:
    """An input of channels and pixels, and how many channels it has."""
    channels = random_size(draft, 8, 256, 8)
    side = random_size(draft, 5, 64)
    return draft.feed(1, channels, side, side), channels


def batch_norms(draft: Draft) -> Sequence[ir.Value]:
    """Batch normalizations by themselves."""
    x, channels = picture(draft)
    for _ in range(2):
        stored = [draft.keep(draft.spread((channels,))) for _ in range(4)]
        x = draft.op("BatchNormalization", draft.op("LeakyRelu", x), *stored)
    return [x]


def transposes(draft: Draft) -> Sequence[ir.Value]:
    """Transpositions, each of the input."""
    heads = random_size(draft, 2, 16)
    tokens = random_size(draft, 2, 256)
    width = random_size(draft, 8, 128, 8)
    x = draft.feed(1, tokens, heads, width)
    return [draft.op("Transpose", x, perm=perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1])]


def resizes(draft: Draft) -> Sequence[ir.Value]:
    """A picture twice as large, each pixel repeated."""
    x, _ = picture(draft)
    scales = draft.keep(np.array([1, 1, 2, 2], np.float32))
    nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return [draft.op("Resize", x, None, scales, mode="nearest", **nearest)]


def copies(draft: Draft) -> Sequence[ir.Value]:
    """Two values side by side, and parts of that."""
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    joined = draft.op("Concat", x, draft.op("Neg", x), axis=1)
    part = draft.op("Slice", joined, draft.integers(1), draft.integers(width), draft.integers(2))
    if width == 1:
        return [joined]
    return [joined, part]


def gathers(draft: Draft) -> Sequence[ir.Value]:
    """Rows of a stored table."""
    count = random_size(draft, 1, 256)
    width = random_size(draft, 8, 512)
    return [
        draft.op("Gather", draft.keep(draft.spread((1000, width))), draft.feed(1, count, most=999))
    ]


def reductions(draft: Draft) -> Sequence[ir.Value]:
    """Means over the last axis, and over the pixels of pictures."""
    x = _sized(draft)
    y = picture(draft)[0]
    return [draft.op("ReduceMean", x, draft.integers(2), keepdims=1),
            draft.op("ReduceMean", y, draft.integers(2, 3), keepdims=1)]  # fmt: skip


def poolings(draft: Draft) -> Sequence[ir.Value]:
    """Windows that slide over what a convolution gives, and one that holds all of it."""
    x, channels = picture(draft)
    x = same_convolution(draft, x, channels, channels, 1)
    size = random_choice(draft, 2, 3, 5)
    stride = random_choice(draft, 1, 2)
    op = ("MaxPool", "AveragePool")[random_choice(draft, 0, 1)]
    x = draft.op(op, x, kernel_shape=[size, size], strides=[stride, stride])
    return [draft.op("GlobalAveragePool", x)]


def quantizations(draft: Draft) -> Sequence[ir.Value]:
    """Numbers to codes and back."""
    return [draft.quantized(_sized(draft))]
