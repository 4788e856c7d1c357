"""The set of models that are timed: how many of each kind, of what, from which seed.

Here are those of kernels that memory bounds: chains of one operator of random sizes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from packlight.backends.onnxruntime.kernel_call import Dtype
from packlight.benchmarking import bodies
from packlight.benchmarking.bodies import Body, random_choice, random_size, same_convolution
from packlight.benchmarking.draft import Array, Draft
from packlight.model import Model

QUICK = 2
"""Of each kind where it has to be quick."""


@dataclass(frozen=True, slots=True)
class Design:
    """Models of one kind.

    Attributes:
        body: draws one.
        count: how many, each of other shapes.
        dtype: of its products.
    """

    body: Body
    count: int
    dtype: Dtype = "float32"


LEAST = 2**7
MOST = 2**20
"""Numbers of a value."""

Step = Callable[[Draft, ir.Value], ir.Value]


def _sized(draft: Draft) -> ir.Value:
    count = random_size(draft, LEAST, MOST)
    width = min(count, random_size(draft, 8, 1024))
    return draft.feed(1, max(1, count // width), width)


def _chain(step: Step, most: int = 8) -> Body:
    """Chain of one operator, several times."""

    def body(draft: Draft) -> Sequence[ir.Value]:
        x = _sized(draft)
        for _ in range(random_choice(draft, 2, 4, most)):
            x = step(draft, x)
        return [x]

    return body


def _chain_of(op: str) -> Body:
    return _chain(lambda draft, x: draft.op(op, x))


def _chain_with_number(op: str, number: float) -> Body:
    return _chain(lambda draft, x: draft.op(op, x, draft.numbers(number)))


def _sums(draft: Draft) -> Sequence[ir.Value]:
    first = x = _sized(draft)
    for step in range(random_choice(draft, 2, 4, 16)):
        x = draft.op(("Sub", "Add")[step % 2], x, first)
    return [x]


def _biases(draft: Draft) -> Sequence[ir.Value]:
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    for _ in range(random_choice(draft, 2, 4)):
        x = draft.op("Add", x, draft.keep(draft.spread((width,))))
    return [x]


def _swish(draft: Draft, x: ir.Value) -> ir.Value:
    return draft.op("Mul", x, draft.op("Sigmoid", x))


def _layer_norms(draft: Draft) -> Sequence[ir.Value]:
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


def _batch_norms(draft: Draft) -> Sequence[ir.Value]:
    x, channels = picture(draft)
    for _ in range(2):
        stored = [draft.keep(draft.spread((channels,))) for _ in range(4)]
        x = draft.op("BatchNormalization", draft.op("LeakyRelu", x), *stored)
    return [x]


def _transposes(draft: Draft) -> Sequence[ir.Value]:
    heads = random_size(draft, 2, 16)
    tokens = random_size(draft, 2, 256)
    width = random_size(draft, 8, 128, 8)
    x = draft.feed(1, tokens, heads, width)
    return [draft.op("Transpose", x, perm=perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1])]


def _resizes(draft: Draft) -> Sequence[ir.Value]:
    x, _ = picture(draft)
    scales = draft.keep(np.array([1, 1, 2, 2], np.float32))
    nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return [draft.op("Resize", x, None, scales, mode="nearest", **nearest)]


def _copies(draft: Draft) -> Sequence[ir.Value]:
    """Two values side by side, and parts of that."""
    x = _sized(draft)
    width = int(draft.feeds["x0"].shape[-1])
    joined = draft.op("Concat", x, draft.op("Neg", x), axis=1)
    part = draft.op("Slice", joined, draft.integers(1), draft.integers(width), draft.integers(2))
    if width == 1:
        return [joined]
    return [joined, part]


def _gathers(draft: Draft) -> Sequence[ir.Value]:
    count = random_size(draft, 1, 256)
    width = random_size(draft, 8, 512)
    return [
        draft.op("Gather", draft.keep(draft.spread((1000, width))), draft.feed(1, count, most=999))
    ]


def _reductions(draft: Draft) -> Sequence[ir.Value]:
    x = _sized(draft)
    y = picture(draft)[0]
    return [draft.op("ReduceMean", x, draft.integers(2), keepdims=1),
            draft.op("ReduceMean", y, draft.integers(2, 3), keepdims=1)]  # fmt: skip


def _poolings(draft: Draft) -> Sequence[ir.Value]:
    """Windows that slide over what a convolution gives, and one that holds all of it."""
    x, channels = picture(draft)
    x = same_convolution(draft, x, channels, channels, 1)
    size = random_choice(draft, 2, 3, 5)
    stride = random_choice(draft, 1, 2)
    op = ("MaxPool", "AveragePool")[random_choice(draft, 0, 1)]
    x = draft.op(op, x, kernel_shape=[size, size], strides=[stride, stride])
    return [draft.op("GlobalAveragePool", x)]


def _quantizations(draft: Draft) -> Sequence[ir.Value]:
    return [draft.quantized(_sized(draft))]


DESIGNS: Final[Mapping[str, Design]] = {
    "conv": Design(bodies.convolutions((2, 3, 3, 5)), 30),
    "stem": Design(bodies.stems((3, 3, 5, 7)), 12),
    "pointwise": Design(bodies.convolutions((1,), most=1024), 32),
    "depthwise": Design(bodies.depthwise, 24),
    "grouped": Design(bodies.grouped, 8),
    "conv1d": Design(bodies.conv1d, 14),
    "transposed": Design(bodies.transposed, 8),
    "matmul": Design(bodies.products((2, 512)), 26),
    "gemm": Design(bodies.products((2, 64), "Gemm"), 8),
    "vector": Design(bodies.products((1, 1), "Gemm", most=4096), 18),
    "batched": Design(bodies.batched, 16),
    "recurrent": Design(bodies.recurrent, 14),
    "attention block": Design(bodies.attention_block, 14),
    "mobile block": Design(bodies.mobile_block, 26),
    "residual block": Design(bodies.residual_block, 12),
    "gated block": Design(bodies.gated_block, 8),
    "conv, codes": Design(bodies.convolutions((3, 3, 5)), 14, "int8"),
    "stem, codes": Design(bodies.stems((3, 5)), 8, "int8"),
    "pointwise, codes": Design(bodies.convolutions((1,), most=1024), 18, "int8"),
    "depthwise, codes": Design(bodies.depthwise, 20, "int8"),
    "grouped, codes": Design(bodies.grouped, 5, "int8"),
    "matmul, codes": Design(bodies.products((2, 512)), 18, "int8"),
    "vector, codes": Design(bodies.products((1, 1), "Gemm", most=4096), 10, "int8"),
    "attention block, codes": Design(bodies.attention_block, 10, "int8"),
    "mobile block, codes": Design(bodies.mobile_block, 20, "int8"),
    "residual block, codes": Design(bodies.residual_block, 8, "int8"),
    "matmul, blocks": Design(bodies.products((1, 128)), 10, "int4"),
    "add": Design(_sums, 15),
    "bias": Design(_biases, 12),
    "divide": Design(_chain_with_number("Div", 1.1), 8),
    "activation": Design(_chain_of("LeakyRelu"), 8),
    "sigmoid": Design(_chain_of("Sigmoid"), 8),
    "tanh": Design(_chain_of("Tanh"), 8),
    "erf": Design(_chain_of("Erf"), 8),
    "gelu": Design(_chain_of("Gelu"), 8),
    "swish": Design(_chain(_swish), 8),
    "exponential": Design(_chain_of("Softplus"), 8),
    "power": Design(_chain_with_number("Pow", 0.9), 8),
    "softmax": Design(_chain(lambda draft, x: draft.op("Softmax", x, axis=-1), 3), 6),
    "norm": Design(_layer_norms, 9),
    "batchnorm": Design(_batch_norms, 8),
    "transpose": Design(_transposes, 9),
    "resize": Design(_resizes, 7),
    "copy": Design(_copies, 8),
    "gather": Design(_gathers, 8),
    "reduce": Design(_reductions, 9),
    "pool": Design(_poolings, 9),
    "codes": Design(_quantizations, 9),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timed:
    """One model to time.

    Attributes:
        design: its kind, a key of ``DESIGNS``.
        number: which of that kind.
        seed: of the whole set.
    """

    design: str
    number: int
    seed: int = 0

    @property
    def key(self) -> str:
        """Its name in results."""
        return f"{self.design} {self.number} of seed {self.seed}"

    def draw(self) -> tuple[Model, Mapping[str, Array]]:
        """The model, and what it is fed."""
        design = DESIGNS[self.design]
        draft = Draft(self.key, zlib.crc32(self.key.encode()), design.dtype)
        return draft.model(*design.body(draft)), draft.feeds


def timed_set(*, quick: bool, seed: int = 0) -> tuple[Timed, ...]:
    """All that is timed, kinds taking turns, so that an early end leaves some of each."""
    most = QUICK if quick else max(design.count for design in DESIGNS.values())
    return tuple(
        Timed(name, number, seed)
        for number in range(most)
        for name, design in DESIGNS.items()
        if number < design.count
    )
