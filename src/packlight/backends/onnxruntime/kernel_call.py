"""What a runtime does in one run of a model: calls of kernels, with what decides their time.

Kernels are ONNX Runtime's, after it has fused and laid out the graph, so they are fewer and other
than the operators of a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

Dtype = Literal["float32", "int8", "int4"]

BYTES: Final[Mapping[Dtype, float]] = {"float32": 4.0, "int8": 1.0, "int4": 0.5}
"""Of one stored or computed number."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Kernels that are alike.

    Attributes:
        family: of operators, as devices state shares for.
        features: names of what decides their speed.
    """

    family: str
    features: tuple[str, ...]


TRAFFIC = "around"
"""Feature of every kernel that moves data: bytes that the whole model reads and writes in a run,
which tell from which cache it is fed."""

WASTE = "waste"
"""Feature of convolutions: channels that fill up blocks, over those that there are."""

SIZE = ("numbers", TRAFFIC)
ROWS = ("rows", "width", TRAFFIC)

KINDS: Final[Mapping[str, Kind]] = {
    "conv": Kind("conv", ("inputs", "outputs", "kernel", "positions", "stride", WASTE, TRAFFIC)),
    "stem": Kind("conv", ("sums", "outputs", "positions", TRAFFIC)),
    "pointwise": Kind("conv", ("inputs", "outputs", "positions", "stride", WASTE, TRAFFIC)),
    "conv1d": Kind("conv", ("inputs", "outputs", "kernel", "positions", TRAFFIC)),
    "transposed": Kind("conv", ("inputs", "outputs", "kernel", "positions", TRAFFIC)),
    "depthwise": Kind("depthwise", ("channels", "kernel", "positions", "stride", WASTE, TRAFFIC)),
    "grouped": Kind("depthwise", ("inputs", "outputs", "kernel", "positions", WASTE, TRAFFIC)),
    "matmul": Kind("matmul", ("rows", "columns", "sums", TRAFFIC)),
    "vector": Kind("matmul", ("columns", "sums", TRAFFIC)),
    "batched": Kind("matmul", ("rows", "columns", "sums", "batch", TRAFFIC)),
    "blocks": Kind("matmul", ("rows", "columns", "sums", TRAFFIC)),
    "recurrent": Kind("recurrent", ("steps", "inputs", "hidden", TRAFFIC)),
    "softmax": Kind("other", ROWS),
    "norm": Kind("other", ROWS),
    "reduce": Kind("other", ROWS),
    "pool": Kind("other", ("positions", "kernel", TRAFFIC)),
    **{name: Kind("other", SIZE) for name in (
        "add", "spread", "divide", "relu", "sigmoid", "tanh", "erf", "gelu", "swish", "exp",
        "power", "batchnorm", "transpose", "reorder", "resize", "copy", "gather", "quantize",
        "dequantize",
    )},
    "small": Kind("other", ()),
    "run": Kind("other", ()),
}  # fmt: skip
"""Every kind by its name. ``small`` takes no more than the overhead of a call; ``run`` is what a
run of a model takes beyond its kernels."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a kernel.

    Attributes:
        kind: a key of ``KINDS``.
        dtype: of what it computes in.
        macs: multiply-accumulates.
        moved: bytes read and written.
        shape: the features of its kind, each a logarithm to base 2.
    """

    kind: str
    dtype: Dtype
    macs: float
    moved: float
    shape: tuple[float, ...]

    @property
    def curve(self) -> str:
        """Name of the curve that it is on."""
        return f"{self.kind}:{self.dtype}"

    def within(self, moved_in_run: float) -> Call:
        """The call in a model that moves so many bytes in a run."""
        if TRAFFIC not in KINDS[self.kind].features:
            return self
        return replace(self, shape=(*self.shape, log2(moved_in_run)))


def integer_call(call: Call) -> Call:
    """A kernel as it would be between codes of 8 bits, before a model has them; others stay.

    What it moves is a quarter, all of it being codes.
    """
    if call.dtype != "float32" or call.kind not in CODED:
        return call
    return replace(call, dtype="int8", moved=call.moved / BYTES["float32"])


CODED = frozenset((
    "conv", "stem", "pointwise", "depthwise", "grouped", "conv1d", "matmul", "vector", "add",
    "pool", "transpose",
))  # fmt: skip
"""Kernels that there are for integers too."""


def blocked_call(call: Call) -> Call:
    """A product as it would be with a weight in blocks of 4 bits; others stay.

    Its features are those of a product of matrices, of one row where it is one of a vector.
    """
    if call.kind not in BLOCKED or call.dtype != "float32":
        return call
    shape = call.shape
    if call.kind == "vector":
        shape = (0.0, *shape)
    columns = shape[1]
    sums = shape[2]
    saved = 2.0 ** (columns + sums) * (BYTES["float32"] - BYTES["int4"])
    return replace(call, kind="blocks", moved=call.moved - saved, shape=shape)


BLOCKED = frozenset(("matmul", "vector"))


def conversion_call(numbers: float, moved_in_run: float, *, to_floats: bool) -> Call:
    """The call that makes codes of floats, or floats of codes, where the two meet.

    Args:
        numbers: that are converted.
        moved_in_run: bytes that the whole model moves in a run.
        to_floats: whether codes become floats.
    """
    moved = numbers * (BYTES["float32"] + BYTES["int8"])
    kind = "dequantize" if to_floats else "quantize"
    return Call(kind, "float32", 0.0, moved, (log2(numbers),)).within(moved_in_run)


def log2(number: float) -> float:
    """A feature: the logarithm to base 2, of at least 1."""
    return math.log2(max(number, 1.0))


SMALL = Call("small", "float32", 0.0, 0.0, ())
RUN = Call("run", "float32", 0.0, 0.0, ())
