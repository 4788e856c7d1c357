"""The methods' configurations: frozen, typed, and checked once, when they are made.

Each class is a method; its ``kind`` is the name that recipes write. ``records.recipe_options``
reads these from the options of a recipe's text and prints them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from packlight.errors import RecipeError
from packlight.records.granularity import PerBlock, PerChannel, PerGroup, PerTensor
from packlight.records.method_config import CalibratedConfig, MethodConfig
from packlight.records.name_pattern import check_pattern
from packlight.records.structure_configs import Channels, LowRank
from packlight.records.training_configs import Distill

WeightWidth = Literal[2, 3, 4, 5, 6, 7, 8]
"""Bits of an integer weight."""

PaletteWidth = Literal[1, 2, 3, 4, 5, 6, 7, 8]
"""Bits of an index into a palette."""

WeightRange = Literal["minmax", "mse", "moments"]
"""Range of a weight's grid: the largest weight, least squared error, or that weighted by inputs."""

ActivationRange = Literal["minmax", "percentile", "mse", "kl"]
"""Width of an activation's grid."""

ScaleBits = Literal[16, 32]
"""Bits of a stored scale."""

ChannelScales = Literal["powers", "any"]
"""Factors that channels may be scaled by."""

SparseStorage = Literal["float", "grid", "palette"]
"""Form of the weights that do not become zero."""

IntegerRuntime = Literal["onnxruntime", "qnn", "litert", "xnnpack", "coreml"]
"""Runtimes whose integer kernels are described, each in a data file of its name."""

WIDEST = 8
"""Bits of the widest code."""

LEAST_DAMPING = 1e-6
MOST_DAMPING = 1e6
"""Damping with which float32 still tells the Hessian and its diagonal from each other."""

WHOLE = 0.02
"""Tolerance of a share times a run against a whole number, so that 0.667 is two of three."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RoundingConfig(CalibratedConfig):
    """Options of methods that round weights to the values that these can take.

    Attributes:
        rounding: to the ``nearest``, or by ``gptq``, where the other weights of the same output
            compensate for each error; it needs calibration samples.
        damping: share of the mean squared input that gptq adds to the Hessian's diagonal, so that
            it trusts its samples less.
        ordered: whether gptq begins with the largest inputs.
        target: outputs that gptq reproduces: those of the ``float`` model, so that each weight
            compensates for the weights before it, or those that its ``present`` inputs would give.
        bias: whether existing biases correct the means of outputs after calibrated rounding.
        mixed: mean bits of a weight, up to 8, where every weight has a width of its own, found with
            calibration samples; 0 gives all the same.
    """

    rounding: Literal["nearest", "gptq"] = "nearest"
    damping: float = 0.1
    ordered: bool = True
    target: Literal["float", "present"] = "float"
    bias: bool = True
    mixed: float = 0.0

    def __post_init__(self) -> None:
        MethodConfig.__post_init__(self)
        if not LEAST_DAMPING <= self.damping <= MOST_DAMPING:
            raise RecipeError(
                f"damping= is a share above 0, from {LEAST_DAMPING} to {MOST_DAMPING:g}; "
                f"got {self.damping}"
            )
        if not 0 <= self.mixed <= WIDEST:
            raise RecipeError(f"mixed= is a mean width up to {WIDEST} bits; got {self.mixed}")

    @property
    def is_calibrated(self) -> bool:
        """True if rounding or widths follow from calibration samples."""
        return self.rounding == "gptq" or self.mixed > 0

    @property
    def targets_float(self) -> bool:
        """True if each weight compensates for the weights before it."""
        return self.rounding == "gptq" and self.target == "float"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Simplify(MethodConfig):
    """Take out what a model does not need: fold, compute what is constant, drop what is unread."""

    kind: ClassVar[str] = "simplify"
    whole_model: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Equalize(CalibratedConfig):
    """Move scales of channels between weights.

    Attributes:
        by: ``inputs`` seeks the scales with the least rounding error of the weights behind, each
            error counted by the mean square of what the weight multiplies in calibration samples;
            ``weights`` makes the ranges before and behind equal and needs no data;
            ``activations`` moves what makes channels of activations uneven into the weights that
            multiply them, which helps where activations are rounded too.
        bits: width to which weights will be rounded, with by=inputs.
        scales: ``powers`` of two leave every result of the model as it is, bit for bit; ``any``
            fit better, and leave it as it is but for rounding in float32.
        strength: share of the unevenness that moves into the weights, 0 to 1, with by=activations.
    """

    kind: ClassVar[str] = "equalize"

    by: Literal["inputs", "weights", "activations"] = "inputs"
    bits: WeightWidth = 4
    scales: ChannelScales = "powers"
    strength: float = 0.5

    def __post_init__(self) -> None:
        MethodConfig.__post_init__(self)
        if not 0 <= self.strength <= 1:
            raise RecipeError(f"equalize,strength= is from 0 to 1; got {self.strength}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Float16(MethodConfig):
    """Store every float32 weight in 16 bits."""

    kind: ClassVar[str] = "float16"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WeightOnly(RoundingConfig):
    """Store weights as ``bits``-wide integers, compute in float.

    Attributes:
        bits: width of one stored weight.
        granularity: weights that share a scale. Smaller blocks are more faithful and cost
            ``scales / size`` more bits per weight.
        symmetric: whether zero lies in the middle of the codes, else each group has its own, at
            one more byte, and makes use of all codes.
        range: width of a grid: ``minmax`` reaches the largest weight, ``mse`` has the least
            squared error, ``moments`` weighs errors by the inputs that calibration samples give.
        scales: bits of a scale.
        expand: when integers become floats: at ``load`` (speed and memory of float), at every
            ``run`` (memory of integers where the runtime fuses it), or what is ``best`` for
            each operator: ``run`` where the runtime fuses it, ``load`` elsewhere.
    """

    kind: ClassVar[str] = "weights"

    bits: WeightWidth = 8
    granularity: PerTensor | PerChannel | PerBlock = PerChannel()
    symmetric: bool = True
    range: WeightRange = "mse"
    scales: ScaleBits = 32
    expand: Literal["best", "load", "run"] = "best"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Palette(RoundingConfig):
    """Store weights as indices of ``bits`` bits into tables of values, compute in float.

    Attributes:
        bits: of one index.
        granularity: weights that share a table.
        weighted: whether tables have the least squared error weighted by the inputs that
            calibration samples give, else that of the weights alone.
        scaled: whether every output channel has a scale of its own beside the table.
        entry: bits of a table's entry.
        scales: bits of a channel's scale.
    """

    kind: ClassVar[str] = "palette"

    bits: PaletteWidth = 4
    granularity: PerTensor | PerGroup = PerTensor()
    weighted: bool = False
    scaled: bool = False
    entry: Literal[8, 32] = 32
    scales: ScaleBits = 32


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sparse(RoundingConfig):
    """Let most weights become zero, and store a bit for each and the others' values.

    ``rounding=nearest`` lets the smallest become zero, ``gptq`` those that cost least given what
    the others can compensate for, and lets the others do so.

    Attributes:
        share: of the numbers of every weight that become zero, between 0 and 1.
        run: where above 0, the share holds in every run of so many consecutive inputs of each
            output, as two of four.
        values: what stays is stored as ``float``, as codes of a ``grid`` with a scale for each
            output channel, or as indices into a ``palette``.
        bits: of a code or an index.
        scaled: whether every output channel has a scale beside the palette.
        weighted: whether weights matter as much as the inputs that calibration samples give, in
            the choice of zeros by size and in the fit of grids and palettes.
        inputs: weights whose outputs sum over fewer are skipped: there is little to gain.
    """

    kind: ClassVar[str] = "sparse"

    share: float = 0.5
    run: int = 0
    values: SparseStorage = "float"
    bits: PaletteWidth = 8
    scaled: bool = False
    weighted: bool = False
    inputs: int = 32

    def __post_init__(self) -> None:
        RoundingConfig.__post_init__(self)
        if not 0 < self.share < 1:
            raise RecipeError(f"sparse,share= lies between 0 and 1; got {self.share}")
        if self.run < 0 or self.run == 1:
            raise RecipeError(f"sparse,run= counts inputs: 0 or at least 2; got {self.run}")
        zeros = self.share * self.run
        if self.run and not (abs(zeros - round(zeros)) <= WHOLE and 0 < round(zeros) < self.run):
            raise RecipeError(
                f"sparse,share= is a whole number of every run; {self.share} of {self.run} is not: "
                f"try share={max(1, min(self.run - 1, round(zeros))) / self.run:.3g}"
            )
        if self.values == "grid" and self.bits == 1:
            raise RecipeError("sparse,values=grid has 2 to 8 bits; got 1, which values=palette has")
        if self.inputs < 1:
            raise RecipeError(f"sparse,inputs= counts inputs: at least 1; got {self.inputs}")
        if self.mixed:
            raise RecipeError(
                f"sparse has the same bits for every weight; got mixed={self.mixed}: leave it out"
            )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StaticInt8(CalibratedConfig):
    """Compute in 8-bit integers with ranges from calibration samples.

    Attributes:
        bits: of a weight.
        range: of an activation: ``minmax`` keeps every value seen, ``percentile`` cuts off rare
            ones, ``mse`` has the least squared error, ``kl`` keeps the distribution best.
        percentile: share of the values kept at each end, in percent, above 50, with
            range=percentile.
        granularity: weights that share a scale.
        rounding: of weights, to the ``nearest``, or by ``gptq``, where the other weights of the
            same output compensate for errors.
        search: width of a weight's grid: ``minmax``, or of least squared error, each error
            counted alike (``mse``) or by its inputs (``moments``).
        bias: whether biases take up what integers do to the means of outputs.
        portable: whether weights are chosen so that x86 processors without VNNI, which add pairs
            of products in 16 bits, never saturate.
        first: whether operators that read the model's inputs compute in ``integer``, stay in
            ``float``, or compute in integers on the numbers of their input's ``levels``, where
            it has 256 evenly spaced ones in each channel, as photos have.
        last: whether operators behind which there is no other weight stay in ``float``.
        skip: operators that stay in float: a regular expression that their names match as a whole.
        wide: operators that read activations of 16 bits: a regular expression that their names
            match as a whole, or ``auto`` for those of which 8 bits lose most. What else reads
            these values reads 16 bits too.
        runtime: whose fusions decide where pairs go, and of which type activations are.
    """

    kind: ClassVar[str] = "static"

    bits: Literal[7, 8] = 8
    range: ActivationRange = "mse"
    percentile: float = 99.99
    granularity: PerChannel | PerTensor = PerChannel()
    rounding: Literal["nearest", "gptq"] = "gptq"
    search: WeightRange = "mse"
    bias: bool = True
    portable: bool = True
    first: Literal["integer", "float", "levels"] = "integer"
    last: Literal["integer", "float"] = "integer"
    skip: str = ""
    wide: str = ""
    runtime: IntegerRuntime = "onnxruntime"

    def __post_init__(self) -> None:
        MethodConfig.__post_init__(self)
        if not 50 < self.percentile <= 100:  # noqa: PLR2004 - percent
            raise RecipeError(
                f"static,percentile= is above 50 and at most 100; got {self.percentile}"
            )
        for name, pattern in (("skip", self.skip), ("wide", self.wide)):
            check_pattern(f"static,{name}", pattern)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DynamicInt8(CalibratedConfig):
    """Multiply in 8-bit integers, activations by their own range at every call.

    Attributes:
        bits: of a weight.
        granularity: weights that share a scale.
        rounding: of weights, to the ``nearest``, or by ``gptq``, which needs calibration samples.
        search: width of a weight's grid, as in ``StaticInt8``.
        bias: whether biases take up what rounding by samples does to the means of outputs.
        portable: whether weights are chosen so that x86 processors without VNNI never saturate.
        runtime: that reads the file: ``onnxruntime`` has a kernel for LSTMs in integers, an
            operator of its own domain; ``onnx`` keeps to the operators that ONNX defines.
    """

    kind: ClassVar[str] = "dynamic"

    bits: Literal[7, 8] = 8
    granularity: PerChannel | PerTensor = PerChannel()
    rounding: Literal["nearest", "gptq"] = "nearest"
    search: WeightRange = "mse"
    bias: bool = True
    portable: bool = True
    runtime: Literal["onnxruntime", "onnx"] = "onnxruntime"


Config = (
    Simplify
    | Equalize
    | Channels
    | LowRank
    | Float16
    | WeightOnly
    | Palette
    | Sparse
    | StaticInt8
    | DynamicInt8
    | Distill
)
"""The configuration of one step: its class is the method."""

CONFIGS: Mapping[str, type[Config]] = {
    config.kind: config
    for config in (
        Simplify, Equalize, Channels, LowRank, Float16, WeightOnly, Palette, Sparse, StaticInt8,
        DynamicInt8, Distill,
    )
}  # fmt: skip
"""The class of every method, by the name that recipes write."""
