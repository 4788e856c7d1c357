"""Models that are timed: short chains of each kind of product, and blocks of known networks.

Chains let a kernel read what another has just written, laid out as that left it, as in real models.
Blocks stand for whole models: a kernel is slower among others than in a chain of its own, for
weights and values of the others drive its own out of the caches; the fit learns how much.
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
MIDDLE = 112
LARGEST = 224
"""Pixels along the side of a picture: the least, and the most behind a stem and at the input."""

DEPTHS = (1, 2, 4)
GRAIN = 8
"""Numbers of channels are mostly multiples of it."""

WIDEST = 1280
"""Channels."""

SMALLEST = 7
"""Pixels along the side of a picture, from which on it is not halved."""


def random_size(draft: Draft, low: float, high: float, grain: int = 1) -> int:
    """A whole number between two, on a logarithmic scale, a multiple of ``grain``."""
    value = math.exp(draft.random.uniform(math.log(low), math.log(high)))
    return max(grain, round(value / grain) * grain)


def random_choice(draft: Draft, *choices: int) -> int:
    """One of some numbers."""
    return int(draft.random.choice(choices))


def _same_padding(size: int) -> dict[str, list[int]]:
    return {"pads": [(size - 1) // 2, (size - 1) // 2, size // 2, size // 2]}


def _with_activation(draft: Draft, x: ir.Value) -> ir.Value:
    kind = random_choice(draft, 0, 1, 1, 2)
    if kind == 1:
        x = draft.op("Relu", x)
    elif kind:
        x = draft.op("Clip", x, draft.numbers(0.0), draft.numbers(6.0))
    return draft.stored_activation(x)


def convolutions(kernels: Sequence[int], most: int = 512) -> Body:
    """Convolutions from some channels to others and back."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        size = random_choice(draft, *kernels)
        stride = random_choice(draft, 1, 1, 2)
        inputs, outputs = (random_size(draft, 2 * GRAIN, most, GRAIN) for _ in range(2))
        side = _limited_side(random_size(draft, LEAST, MIDDLE), inputs * outputs * size**2)
        x = draft.feed(1, inputs, side, side)
        for _ in range(random_choice(draft, *DEPTHS)):
            x = convolution(draft, x, (outputs, inputs, size, size), stride)
            inputs, outputs = outputs, inputs
            stride = 1
        return [x]

    return body


def stems(kernels: Sequence[int]) -> Body:
    """Convolutions of pictures as they come in, with few channels."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        size = random_choice(draft, *kernels)
        stride = random_choice(draft, 1, 1, 2)
        inputs = random_size(draft, 1, 2 * GRAIN - 1)
        outputs = random_size(draft, 2 * GRAIN, 64, GRAIN)
        side = _limited_side(random_size(draft, LEAST, LARGEST), inputs * outputs * size**2)
        x = draft.feed(1, inputs, side, side)
        return [convolution(draft, x, (outputs, inputs, size, size), stride)]

    return body


def convolution(draft: Draft, x: ir.Value, shape: Sequence[int], stride: int) -> ir.Value:
    """A convolution with its activation, the picture as large as it is but for the stride."""
    return _with_activation(draft, draft.product(
        "Conv", x, shape, 0, kernel_shape=list(shape[2:]), strides=[stride, stride],
        **_same_padding(shape[-1])))  # fmt: skip


def _limited_side(side: int, macs: int) -> int:
    while macs * side**2 > MOST and side > LEAST:
        side = side * 3 // 4
    return side


def depthwise(draft: Draft) -> Sequence[ir.Value]:
    """Convolutions of each channel by itself."""
    channels = random_size(draft, 16, 1024, GRAIN)
    side = random_size(draft, 5, 112)
    size = random_choice(draft, 3, 3, 5, 7)
    stride = random_choice(draft, 1, 1, 2)
    while channels * side**2 * size**2 > MOST / 4:
        side = side * 3 // 4
    x = draft.feed(1, channels, side, side)
    for _ in range(random_choice(draft, *DEPTHS)):
        x = _with_activation(draft, draft.product(
            "Conv", x, (channels, 1, size, size), 0, kernel_shape=[size, size], group=channels,
            strides=[stride, stride], **_same_padding(size)))  # fmt: skip
        stride = 1
    return [x]


def grouped(draft: Draft) -> Sequence[ir.Value]:
    """Convolutions in a few groups."""
    groups = random_choice(draft, 2, 4, 8, 32)
    group_size = random_size(draft, 4, 32, 4)
    channels = groups * group_size
    side = random_size(draft, 7, 56)
    x = draft.feed(1, channels, side, side)
    for _ in range(random_choice(draft, 1, 2)):
        x = _with_activation(draft, draft.product(
            "Conv", x, (channels, group_size, 3, 3), 0, kernel_shape=[3, 3], group=groups,
            **_same_padding(3)))  # fmt: skip
    return [x]


def conv1d(draft: Draft) -> Sequence[ir.Value]:
    """Convolutions over time."""
    inputs = random_size(draft, 1, 256)
    outputs = random_size(draft, 16, 256, GRAIN)
    size = random_choice(draft, 1, 3, 5, 16)
    length = random_size(draft, 1, 512)
    stride = random_choice(draft, 1, 1, 2)
    x = draft.feed(1, inputs, max(length, size))
    pads = [(size - 1) // 2, size // 2]
    x = draft.product("Conv", x, (outputs, inputs, size), 0, kernel_shape=[size], pads=pads,
                      strides=[stride])  # fmt: skip
    x = draft.op("Relu", x)
    x = draft.product("Conv", x, (outputs, outputs, 3), 0, kernel_shape=[3], pads=[1, 1])
    return [draft.op("Relu", x)]


def transposed(draft: Draft) -> Sequence[ir.Value]:
    """Transposed convolutions that double a picture."""
    inputs = random_size(draft, 8, 128, GRAIN)
    outputs = random_size(draft, 8, 128, GRAIN)
    size = random_choice(draft, 2, 3, 4)
    side = random_size(draft, 4, 32)
    x = draft.feed(1, inputs, side, side)
    return [draft.product("ConvTranspose", x, (inputs, outputs, size, size), 1,
                          kernel_shape=[size, size], strides=[2, 2])]  # fmt: skip


def products(rows: Sequence[int], op: str = "MatMul", most: int = 2048) -> Body:
    """Products with stored matrices, there and back."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        height = random_size(draft, *rows)
        sums, columns = (random_size(draft, 32, most, BLOCK) for _ in range(2))
        while height * sums * columns > MOST and sums > BLOCK:
            sums = max(BLOCK, sums // 2 // BLOCK * BLOCK)
        shape = (height, sums) if op == "Gemm" else (1, height, sums)
        x = draft.feed(*shape)
        for _ in range(random_choice(draft, *DEPTHS)):
            x = draft.product(op, x, (sums, columns), 1)
            sums, columns = columns, sums
        return [x]

    return body


def batched(draft: Draft) -> Sequence[ir.Value]:
    """The two products of attention, and the softmax between them."""
    heads = random_size(draft, 2, 16)
    tokens = random_size(draft, 8, 256)
    width = random_size(draft, 16, 96, GRAIN)
    query, key, value = (draft.feed(1, heads, tokens, width) for _ in range(3))
    turned = draft.op("Transpose", key, perm=[0, 1, 3, 2])
    scores = draft.op("Mul", draft.op("MatMul", query, turned), draft.numbers(width**-0.5))
    return [draft.op("MatMul", draft.op("Softmax", scores, axis=-1), value)]


def recurrent(draft: Draft) -> Sequence[ir.Value]:
    """An LSTM or a GRU over a sequence."""
    op, gates = (("LSTM", 4), ("GRU", 3))[random_choice(draft, 0, 1)]
    steps = random_size(draft, 1, 64)
    inputs = random_size(draft, 16, 256)
    hidden = random_size(draft, 16, 256)
    x = draft.feed(steps, 1, inputs)
    stored = [draft.keep(draft.spread((1, gates * hidden, width)) / 1000)
              for width in (inputs, hidden)]  # fmt: skip
    return [draft.op(op, x, *stored, hidden_size=hidden)]


def attention_block(draft: Draft) -> Sequence[ir.Value]:
    """Blocks of a transformer: what is around its products too."""
    tokens = random_size(draft, 8, 256)
    heads = random_choice(draft, 2, 4, 6, 8, 12)
    head_size = random_choice(draft, 32, 64)
    x = draft.feed(1, tokens, heads * head_size)
    for _ in range(random_choice(draft, 1, 1, 2, 4)):
        x = _encoder_block(draft, x, tokens, heads, head_size)
    return [x]


def _encoder_block(draft: Draft, x: ir.Value, tokens: int, heads: int, head_size: int) -> ir.Value:
    """One block: attention, then two layers with a Gelu as exporters write it out."""
    width = heads * head_size
    parts = []
    for _ in range(3):
        projected = _linear(draft, x, width, width)
        split = draft.op("Reshape", projected, draft.integers(0, tokens, heads, head_size))
        parts.append(draft.op("Transpose", split, perm=[0, 2, 1, 3]))
    turned = draft.op("Transpose", parts[1], perm=[0, 1, 3, 2])
    scores = draft.op("Mul", draft.op("MatMul", parts[0], turned), draft.numbers(head_size**-0.5))
    mixed = draft.op("MatMul", draft.op("Softmax", scores, axis=-1), parts[2])
    joined = draft.op("Transpose", mixed, perm=[0, 2, 1, 3])
    joined = draft.op("Reshape", joined, draft.integers(0, tokens, width))
    x = _layer_norm(draft, draft.op("Add", x, _linear(draft, joined, width, width)), width)
    wide = _linear(draft, x, width, 4 * width)
    erf = draft.op("Erf", draft.op("Div", wide, draft.numbers(math.sqrt(2))))
    half = draft.op("Mul", draft.op("Add", erf, draft.numbers(1.0)), draft.numbers(0.5))
    wide = draft.op("Mul", wide, half)
    return _layer_norm(draft, draft.op("Add", x, _linear(draft, wide, 4 * width, width)), width)


def _linear(draft: Draft, x: ir.Value, inputs: int, outputs: int) -> ir.Value:
    shift = draft.keep(draft.spread((outputs,)))
    return draft.op("Add", draft.product("MatMul", x, (inputs, outputs), 1), shift)


def _layer_norm(draft: Draft, x: ir.Value, width: int) -> ir.Value:
    return draft.op("LayerNormalization", x, *(draft.keep(draft.spread((width,))) for _ in "ab"))


def mobile_block(draft: Draft) -> Sequence[ir.Value]:
    """A stem and blocks of a mobile network: wider, depthwise, narrow again, and the sum."""
    side = random_size(draft, 16, 224, 2)
    width = random_size(draft, 8, 96, GRAIN)
    width = max(GRAIN, min(width, 2 * WIDEST // side // GRAIN * GRAIN))
    x = draft.feed(1, 3, side, side)
    x = _with_activation(draft, same_convolution(draft, x, 3, width, 3, stride=2))
    side = -(-side // 2)
    for _ in range(random_choice(draft, 1, 3, 6, 12)):
        stride = 1
        outputs = width
        if side > SMALLEST and random_choice(draft, 0, 0, 1):
            stride = 2
            outputs = min(WIDEST // 6, random_size(draft, width, 2 * width, GRAIN))
        x = _inverted_residual(draft, x, width, outputs, stride)
        width = outputs
        side = -(-side // stride)
    pooled = draft.stored_activation(draft.op("GlobalAveragePool", x))
    return [draft.product("Gemm", draft.op("Flatten", pooled), (width, 1000), 1)]


def _inverted_residual(
    draft: Draft, x: ir.Value, width: int, outputs: int, stride: int
) -> ir.Value:
    """One block of a mobile network."""
    wide = width * random_choice(draft, 3, 6)
    y = _with_activation(draft, same_convolution(draft, x, width, wide, 1))
    y = draft.product("Conv", y, (wide, 1, 3, 3), 0, kernel_shape=[3, 3], group=wide,
                      strides=[stride, stride], **_same_padding(3))  # fmt: skip
    y = draft.stored_activation(
        same_convolution(draft, _with_activation(draft, y), wide, outputs, 1)
    )
    if stride == 1 and outputs == width:
        y = draft.stored_activation(draft.op("Add", x, y))
    return y


def same_convolution(
    draft: Draft, x: ir.Value, inputs: int, outputs: int, size: int, *, stride: int = 1
) -> ir.Value:
    """A convolution that keeps the size of a picture, or halves it."""
    return draft.product("Conv", x, (outputs, inputs, size, size), 0, kernel_shape=[size, size],
                         strides=[stride, stride], **_same_padding(size))  # fmt: skip


def residual_block(draft: Draft) -> Sequence[ir.Value]:
    """A stem, a pooling, and bottlenecks with their residuals."""
    side = random_size(draft, 7, 56)
    narrow = random_size(draft, 16, 128, GRAIN)
    while narrow * side > WIDEST:
        side = side * 3 // 4
    wide = 4 * narrow
    x = _with_activation(draft, same_convolution(draft, draft.feed(1, 3, side, side), 3, wide, 3))
    x = draft.stored_activation(draft.op("MaxPool", x, kernel_shape=[3, 3], **_same_padding(3)))
    for _ in range(random_choice(draft, 1, 2, 4)):
        y = _with_activation(draft, same_convolution(draft, x, wide, narrow, 1))
        y = _with_activation(draft, same_convolution(draft, y, narrow, narrow, 3))
        y = draft.stored_activation(same_convolution(draft, y, narrow, wide, 1))
        x = draft.stored_activation(draft.op("Relu", draft.op("Add", y, x)))
    return [x]


def gated_block(draft: Draft) -> Sequence[ir.Value]:
    """Channels weighed by what all of the picture gives (squeeze and excitation)."""
    side = random_size(draft, 5, 40)
    width = random_size(draft, 16, 128, GRAIN)
    squeezed = max(GRAIN, width // 4 // GRAIN * GRAIN)
    x = draft.feed(1, width, side, side)
    for _ in range(random_choice(draft, 1, 2, 4)):
        x = same_convolution(draft, x, width, width, 1)
        mean = draft.op("ReduceMean", x, draft.integers(2, 3), keepdims=1)
        gate = draft.op("Relu", same_convolution(draft, mean, width, squeezed, 1))
        gate = draft.op("HardSigmoid", same_convolution(draft, gate, squeezed, width, 1))
        x = same_convolution(draft, draft.op("Mul", x, gate), width, width, 1)
    return [x]
