"""What is timed to stand for whole models: blocks of known networks, some that fill caches.

A kernel is slower among others than in a chain of its own, for weights and values of the others
drive out its own; how much slower is learned here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from packlight.benchmarking.bodies import GRAIN, activated, chosen, drawn, padded
from packlight.benchmarking.draft import Draft

WIDEST = 1280
"""Channels."""

SMALLEST = 7
"""Pixels along the side of a picture, from which on it is not halved."""


def attention_block(draft: Draft) -> Sequence[ir.Value]:
    """Blocks of a transformer: what is around its products too."""
    tokens = drawn(draft, 8, 256)
    heads = chosen(draft, 2, 4, 6, 8, 12)
    head_size = chosen(draft, 32, 64)
    x = draft.feed(1, tokens, heads * head_size)
    for _ in range(chosen(draft, 1, 1, 2, 4)):
        x = encoder(draft, x, tokens, heads, head_size)
    return [x]


def encoder(draft: Draft, x: ir.Value, tokens: int, heads: int, head_size: int) -> ir.Value:
    """One block: attention, then two layers with a Gelu as exporters write it out."""
    width = heads * head_size
    parts = []
    for _ in range(3):
        projected = biased(draft, x, width, width)
        split = draft.op("Reshape", projected, draft.whole(0, tokens, heads, head_size))
        parts.append(draft.op("Transpose", split, perm=[0, 2, 1, 3]))
    turned = draft.op("Transpose", parts[1], perm=[0, 1, 3, 2])
    scores = draft.op("Mul", draft.op("MatMul", parts[0], turned), draft.numbers(head_size**-0.5))
    mixed = draft.op("MatMul", draft.op("Softmax", scores, axis=-1), parts[2])
    joined = draft.op("Transpose", mixed, perm=[0, 2, 1, 3])
    joined = draft.op("Reshape", joined, draft.whole(0, tokens, width))
    x = _normed(draft, draft.op("Add", x, biased(draft, joined, width, width)), width)
    wide = biased(draft, x, width, 4 * width)
    erf = draft.op("Erf", draft.op("Div", wide, draft.numbers(math.sqrt(2))))
    half = draft.op("Mul", draft.op("Add", erf, draft.numbers(1.0)), draft.numbers(0.5))
    wide = draft.op("Mul", wide, half)
    return _normed(draft, draft.op("Add", x, biased(draft, wide, 4 * width, width)), width)


def biased(draft: Draft, x: ir.Value, inputs: int, outputs: int) -> ir.Value:
    """A linear layer as exporters write it."""
    shift = draft.keep(draft.spread((outputs,)))
    return draft.op("Add", draft.product("MatMul", x, (inputs, outputs), 1), shift)


def _normed(draft: Draft, x: ir.Value, width: int) -> ir.Value:
    return draft.op("LayerNormalization", x, *(draft.keep(draft.spread((width,))) for _ in "ab"))


def mobile_block(draft: Draft) -> Sequence[ir.Value]:
    """A stem and blocks of a mobile network: wider, depthwise, narrow again, and the sum."""
    side = drawn(draft, 16, 224, 2)
    width = drawn(draft, 8, 96, GRAIN)
    width = max(GRAIN, min(width, 2 * WIDEST // side // GRAIN * GRAIN))
    x = draft.feed(1, 3, side, side)
    x = activated(draft, convolved(draft, x, 3, width, 3, stride=2))
    side = -(-side // 2)
    for _ in range(chosen(draft, 1, 3, 6, 12)):
        narrow = side > SMALLEST and chosen(draft, 0, 0, 1)
        outputs = min(WIDEST // 6, drawn(draft, width, 2 * width, GRAIN)) if narrow else width
        x = _inverted(draft, x, width, outputs, 2 if narrow else 1)
        width = outputs
        side = -(-side // 2) if narrow else side
    pooled = draft.settled(draft.op("GlobalAveragePool", x))
    return [draft.product("Gemm", draft.op("Flatten", pooled), (width, 1000), 1)]


def _inverted(draft: Draft, x: ir.Value, width: int, outputs: int, stride: int) -> ir.Value:
    """One block of a mobile network."""
    wide = width * chosen(draft, 3, 6)
    y = activated(draft, convolved(draft, x, width, wide, 1))
    y = draft.product("Conv", y, (wide, 1, 3, 3), 0, kernel_shape=[3, 3], group=wide,
                      strides=[stride, stride], **padded(3))  # fmt: skip
    y = draft.settled(convolved(draft, activated(draft, y), wide, outputs, 1))
    same = stride == 1 and outputs == width
    return draft.settled(draft.op("Add", x, y)) if same else y


def convolved(
    draft: Draft, x: ir.Value, inputs: int, outputs: int, size: int, *, stride: int = 1
) -> ir.Value:
    """A convolution that keeps the size of a picture, or halves it."""
    return draft.product("Conv", x, (outputs, inputs, size, size), 0, kernel_shape=[size, size],
                         strides=[stride, stride], **padded(size))  # fmt: skip


def residual_block(draft: Draft) -> Sequence[ir.Value]:
    """A stem, a pooling, and bottlenecks with their residuals."""
    side = drawn(draft, 7, 56)
    narrow = drawn(draft, 16, 128, GRAIN)
    while narrow * side > WIDEST:
        side = side * 3 // 4
    wide = 4 * narrow
    x = activated(draft, convolved(draft, draft.feed(1, 3, side, side), 3, wide, 3))
    x = draft.settled(draft.op("MaxPool", x, kernel_shape=[3, 3], **padded(3)))
    for _ in range(chosen(draft, 1, 2, 4)):
        y = activated(draft, convolved(draft, x, wide, narrow, 1))
        y = activated(draft, convolved(draft, y, narrow, narrow, 3))
        y = draft.settled(convolved(draft, y, narrow, wide, 1))
        x = draft.settled(draft.op("Relu", draft.op("Add", y, x)))
    return [x]


def gated_block(draft: Draft) -> Sequence[ir.Value]:
    """Channels weighed by what all of the picture gives (squeeze and excitation)."""
    side = drawn(draft, 5, 40)
    width = drawn(draft, 16, 128, GRAIN)
    squeezed = max(GRAIN, width // 4 // GRAIN * GRAIN)
    x = draft.feed(1, width, side, side)
    for _ in range(chosen(draft, 1, 2, 4)):
        x = convolved(draft, x, width, width, 1)
        mean = draft.op("ReduceMean", x, draft.whole(2, 3), keepdims=1)
        gate = draft.op("Relu", convolved(draft, mean, width, squeezed, 1))
        gate = draft.op("HardSigmoid", convolved(draft, gate, squeezed, width, 1))
        x = convolved(draft, draft.op("Mul", x, gate), width, width, 1)
    return [x]
