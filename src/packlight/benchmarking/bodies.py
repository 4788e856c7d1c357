"""What is timed of each kind of kernel: one operator, or a short chain of it, of drawn shapes.

Chains let a kernel read what another has just written, laid out as that left it, as in real models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

from packlight.benchmarking.draft import BLOCK, Draft

Body = Callable[[Draft], Sequence[ir.Value]]

MOST = 50e6
"""Multiply-accumulates of one model, at most about."""

LEAST = 4
"""Pixels along the side of a picture."""

MIDDLE = 112
LARGEST = 224
"""The same of the largest: further on, and where a picture comes in."""

DEPTHS = (1, 2, 4)
GRAIN = 8
"""Of which numbers of channels are mostly multiples."""


def drawn(draft: Draft, low: float, high: float, grain: int = 1) -> int:
    """A whole number between two, on a logarithmic scale, a multiple of ``grain``."""
    value = math.exp(draft.random.uniform(math.log(low), math.log(high)))
    return max(grain, round(value / grain) * grain)


def chosen(draft: Draft, *choices: int) -> int:
    """One of some numbers."""
    return int(draft.random.choice(choices))


def padded(size: int) -> dict[str, list[int]]:
    """Padding that keeps the size of a picture."""
    return {"pads": [(size - 1) // 2, (size - 1) // 2, size // 2, size // 2]}


def activated(draft: Draft, x: ir.Value) -> ir.Value:
    """Behind an activation, most times."""
    kind = chosen(draft, 0, 1, 1, 2)
    if kind == 1:
        x = draft.op("Relu", x)
    elif kind:
        x = draft.op("Clip", x, draft.numbers(0.0), draft.numbers(6.0))
    return draft.settled(x)


def convs(kernels: Sequence[int], most: int = 512) -> Body:
    """Convolutions from some channels to others and back."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        size = chosen(draft, *kernels)
        stride = chosen(draft, 1, 1, 2)
        inputs, outputs = (drawn(draft, 2 * GRAIN, most, GRAIN) for _ in range(2))
        side = _shrunk(drawn(draft, LEAST, MIDDLE), inputs * outputs * size**2)
        x = draft.feed(1, inputs, side, side)
        for step in range(chosen(draft, *DEPTHS)):
            shape = (outputs, inputs) if step % 2 == 0 else (inputs, outputs)
            x = convolution(draft, x, (*shape, size, size), stride if step == 0 else 1)
        return [x]

    return body


def stems(kernels: Sequence[int]) -> Body:
    """Convolutions of pictures as they come in, with few channels."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        size = chosen(draft, *kernels)
        stride = chosen(draft, 1, 1, 2)
        inputs = drawn(draft, 1, 2 * GRAIN - 1)
        outputs = drawn(draft, 2 * GRAIN, 64, GRAIN)
        side = _shrunk(drawn(draft, LEAST, LARGEST), inputs * outputs * size**2)
        x = draft.feed(1, inputs, side, side)
        return [convolution(draft, x, (outputs, inputs, size, size), stride)]

    return body


def convolution(draft: Draft, x: ir.Value, shape: Sequence[int], stride: int) -> ir.Value:
    """A convolution with its activation, the picture as large as it is but for the stride."""
    return activated(draft, draft.product(
        "Conv", x, shape, 0, kernel_shape=list(shape[2:]), strides=[stride, stride],
        **padded(shape[-1])))  # fmt: skip


def _shrunk(side: int, macs: int) -> int:
    while macs * side**2 > MOST and side > LEAST:
        side = side * 3 // 4
    return side


def depthwise(draft: Draft) -> Sequence[ir.Value]:
    """Convolutions of each channel by itself."""
    channels = drawn(draft, 16, 1024, GRAIN)
    side = drawn(draft, 5, 112)
    size = chosen(draft, 3, 3, 5, 7)
    stride = chosen(draft, 1, 1, 2)
    while channels * side**2 * size**2 > MOST / 4:
        side = side * 3 // 4
    x = draft.feed(1, channels, side, side)
    for step in range(chosen(draft, *DEPTHS)):
        x = activated(draft, draft.product(
            "Conv", x, (channels, 1, size, size), 0, kernel_shape=[size, size], group=channels,
            strides=[stride if step == 0 else 1] * 2, **padded(size)))  # fmt: skip
    return [x]


def grouped(draft: Draft) -> Sequence[ir.Value]:
    """Convolutions in a few groups."""
    groups = chosen(draft, 2, 4, 8, 32)
    group_size = drawn(draft, 4, 32, 4)
    channels = groups * group_size
    side = drawn(draft, 7, 56)
    x = draft.feed(1, channels, side, side)
    for _ in range(chosen(draft, 1, 2)):
        x = activated(
            draft,
            draft.product(
                "Conv",
                x,
                (channels, group_size, 3, 3),
                0,
                kernel_shape=[3, 3],
                group=groups,
                **padded(3),
            ),
        )
    return [x]  # fmt: skip


def conv1d(draft: Draft) -> Sequence[ir.Value]:
    """Convolutions over time."""
    inputs = drawn(draft, 1, 256)
    outputs = drawn(draft, 16, 256, GRAIN)
    size = chosen(draft, 1, 3, 5, 16)
    length = drawn(draft, 1, 512)
    stride = chosen(draft, 1, 1, 2)
    x = draft.feed(1, inputs, max(length, size))
    pads = [(size - 1) // 2, size // 2]
    x = draft.product("Conv", x, (outputs, inputs, size), 0, kernel_shape=[size], pads=pads,
                      strides=[stride])  # fmt: skip
    x = draft.op("Relu", x)
    x = draft.product("Conv", x, (outputs, outputs, 3), 0, kernel_shape=[3], pads=[1, 1])
    return [draft.op("Relu", x)]


def transposed(draft: Draft) -> Sequence[ir.Value]:
    """Transposed convolutions that double a picture."""
    inputs = drawn(draft, 8, 128, GRAIN)
    outputs = drawn(draft, 8, 128, GRAIN)
    size = chosen(draft, 2, 3, 4)
    side = drawn(draft, 4, 32)
    x = draft.feed(1, inputs, side, side)
    return [draft.product("ConvTranspose", x, (inputs, outputs, size, size), 1,
                          kernel_shape=[size, size], strides=[2, 2])]  # fmt: skip


def products(rows: Sequence[int], op: str = "MatMul", most: int = 2048) -> Body:
    """Products with stored matrices, there and back."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        height = drawn(draft, *rows)
        sums, columns = (drawn(draft, 32, most, BLOCK) for _ in range(2))
        while height * sums * columns > MOST and sums > BLOCK:
            sums = max(BLOCK, sums // 2 // BLOCK * BLOCK)
        shape = (height, sums) if op == "Gemm" else (1, height, sums)
        x = draft.feed(*shape)
        for step in range(chosen(draft, *DEPTHS)):
            matrix = (sums, columns) if step % 2 == 0 else (columns, sums)
            x = draft.product(op, x, matrix, 1)
        return [x]

    return body


def batched(draft: Draft) -> Sequence[ir.Value]:
    """The two products of attention, and the softmax between them."""
    heads = drawn(draft, 2, 16)
    tokens = drawn(draft, 8, 256)
    width = drawn(draft, 16, 96, GRAIN)
    query, key, value = (draft.feed(1, heads, tokens, width) for _ in range(3))
    turned = draft.op("Transpose", key, perm=[0, 1, 3, 2])
    scores = draft.op("Mul", draft.op("MatMul", query, turned), draft.numbers(width**-0.5))
    return [draft.op("MatMul", draft.op("Softmax", scores, axis=-1), value)]


def recurrent(draft: Draft) -> Sequence[ir.Value]:
    """An LSTM or a GRU over a sequence."""
    op, gates = (("LSTM", 4), ("GRU", 3))[chosen(draft, 0, 1)]
    steps = drawn(draft, 1, 64)
    inputs = drawn(draft, 16, 256)
    hidden = drawn(draft, 16, 256)
    x = draft.feed(steps, 1, inputs)
    stored = [draft.keep(draft.spread((1, gates * hidden, width)) / 1000)
              for width in (inputs, hidden)]  # fmt: skip
    return [draft.op(op, x, *stored, hidden_size=hidden)]
