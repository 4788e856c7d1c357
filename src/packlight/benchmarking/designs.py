"""The set of models that are timed: how many of each kind, of what, from which seed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from packlight.backends.onnxruntime.kernel_call import Dtype
from packlight.benchmarking import bodies, movers
from packlight.benchmarking.bodies import Body
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
    "add": Design(movers.sums, 15),
    "bias": Design(movers.biases, 12),
    "divide": Design(movers.chain_with_number("Div", 1.1), 8),
    "activation": Design(movers.chain_of("LeakyRelu"), 8),
    "sigmoid": Design(movers.chain_of("Sigmoid"), 8),
    "tanh": Design(movers.chain_of("Tanh"), 8),
    "erf": Design(movers.chain_of("Erf"), 8),
    "gelu": Design(movers.chain_of("Gelu"), 8),
    "swish": Design(movers.chain(movers.swish), 8),
    "exponential": Design(movers.chain_of("Softplus"), 8),
    "power": Design(movers.chain_with_number("Pow", 0.9), 8),
    "softmax": Design(movers.chain(lambda draft, x: draft.op("Softmax", x, axis=-1), 3), 6),
    "norm": Design(movers.layer_norms, 9),
    "batchnorm": Design(movers.batch_norms, 8),
    "transpose": Design(movers.transposes, 9),
    "resize": Design(movers.resizes, 7),
    "copy": Design(movers.copies, 8),
    "gather": Design(movers.gathers, 8),
    "reduce": Design(movers.reductions, 9),
    "pool": Design(movers.poolings, 9),
    "codes": Design(movers.quantizations, 9),
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
