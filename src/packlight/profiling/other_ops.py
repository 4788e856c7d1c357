"""Arithmetic besides multiply-accumulates, in elementary operations on single numbers.

One operation is a sum, difference, product, quotient, comparison, choice, conversion, or one value
of an elementary function (exp, log, root, power, sigmoid, tanh, erf, sine, ...). An operator counts
what its definition needs, number by number, with what is the same for many numbers (a reciprocal of
a deviation, a scale) left out. Moving numbers costs none.
Source: the operator specifications of ONNX up to opset 23; for DFT the count of FFTW's benchmarks,
5 n log2(n), and half of it for real input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from packlight.model import stored_tensor
from packlight.profiling.counts import Around, Count, UnknownError, Work, names, numbers


def each_given(operations: int) -> Count:
    """So many operations for each number that is given."""
    return lambda around: Work(0, operations * numbers(around.first_given()))


def each_read(operations: int) -> Count:
    """So many operations for each number of the first input."""
    return lambda around: Work(0, operations * numbers(around.read(0)))


def nothing(around: Around) -> Work:
    """Numbers are moved, not computed."""
    del around
    return Work()


def between_all(around: Around) -> Work:
    """One operation between each input and the next; Mean then divides."""
    read = sum(value is not None for value in around.node.inputs)
    mean = around.node.op_type == "Mean"
    return Work(0, (read - 1 + mean) * numbers(around.given()))


def affine_norm(plain: int) -> Count:
    """A normalisation: so many operations for each number, and one where a shift is given."""
    return lambda around: Work(0, (plain + around.has(2)) * numbers(around.read(0)))


def local_response(around: Around) -> Work:
    """LRN: a square, sums over ``size`` channels, and product, sum, power and quotient."""
    return Work(0, (around.integer("size", 1) + 5) * numbers(around.read(0)))


def pooled(operations: int) -> Count:
    """Pooling: so many operations for each number under each place of the window."""

    def count(around: Around) -> Work:
        window = numbers(tuple(around.node.attributes.get_ints("kernel_shape", [])))
        return Work(0, operations * window * numbers(around.first_given()))

    return count


POINTS = {"nearest": 0, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}
"""Points along an axis that an interpolated number depends on."""


def resized(around: Around) -> Work:
    """Resize: a product and a sum for each of the points around, along the axes that change."""
    given, read = around.given(), around.read(0)
    changed = sum(one != other for one, other in zip(given, read, strict=True))
    return interpolated(around, changed)


def sampled(around: Around) -> Work:
    """GridSample: the same, along all axes but batch and channels."""
    return interpolated(around, len(around.read(0)) - 2)


def interpolated(around: Around, axes: int) -> Work:
    """A product and a sum for each of the points around each number that is given."""
    default = "linear" if around.node.op_type == "GridSample" else "nearest"
    mode = around.text("mode", default)
    if mode not in POINTS:
        raise UnknownError(f"mode '{mode}' is not known")
    points = POINTS[mode] ** axes if POINTS[mode] and axes else 0
    wider = around.integer("antialias", 0) and points
    note = "antialias widens the filter by a factor that is not counted" if wider else ""
    return Work(0, 2 * points * numbers(around.given()), note)


def aligned_regions(around: Around) -> Work:
    """RoiAlign: ``sampling_ratio`` squared samples of four points each, then their mean."""
    ratio = around.integer("sampling_ratio", 0)
    if ratio < 1:
        raise UnknownError("sampling_ratio 0 lets the size of each region say")
    return Work(0, 9 * ratio**2 * numbers(around.given()))


def affine_grid(around: Around) -> Work:
    """AffineGrid: each coordinate is a product with a row of theta."""
    return Work(0, 2 * around.read(0)[-1] * numbers(around.given()))


def determinant(around: Around) -> Work:
    """Det by elimination: 2/3 n^3 for each (n, n)."""
    shape = around.read(0)
    return Work(0, round(2 / 3 * numbers(shape) * shape[-1]))


def largest(around: Around) -> Work:
    """TopK with a heap of k: log2(k + 1) comparisons for each number."""
    axis = around.integer("axis", -1)
    depth = math.ceil(math.log2(around.first_given()[axis] + 1))
    return Work(0, numbers(around.read(0)) * depth)


def sorted_values(around: Around) -> Work:
    """Unique by sorting: log2(n) comparisons for each number."""
    total = numbers(around.read(0))
    return Work(0, total * math.ceil(math.log2(max(total, 1))))


def scattered(around: Around) -> Work:
    """Scatter: one operation for each update where those are combined with what is there."""
    combined = around.text("reduction", "none") != "none"
    return Work(0, numbers(around.read(2)) if combined else 0)


def spectrum(transforms: int, length: int, *, real: bool) -> int:
    """Operations of so many Fourier transforms of this length."""
    if length <= 1:
        return 0
    return round(transforms * (2.5 if real else 5) * length * math.log2(length))


def dft(around: Around) -> Work:
    """DFT along one axis of (..., 1 or 2)."""
    read = around.read(0)
    stored = stored_integer(around, 2)
    if around.has(2) and stored is None:
        raise UnknownError("its axis is computed")
    axis = around.integer("axis", 1 if stored is None and not around.has(2) else 0)
    axis = (stored if stored is not None else axis) % len(read)
    length = read[axis]
    if around.has(1):
        given = around.given()[axis]
        length = 2 * (given - 1) if around.integer("onesided", 0) else given
    transforms = numbers(read[:-1]) // max(read[axis], 1)
    return Work(0, spectrum(transforms, length, real=read[-1] == 1))


def stft(around: Around) -> Work:
    """STFT: every frame is weighted by the window and transformed."""
    batch, frames, bins, _ = around.given()
    signal = around.read(0)
    length = around.read(2)[0] if around.has(2) else stored_integer(around, 3)
    if length is None:
        length = 2 * (bins - 1) if around.integer("onesided", 1) else bins
    real = signal[-1] == 1 or len(signal) == 2  # noqa: PLR2004
    weighted = batch * frames * length * (1 if real else 2) if around.has(2) else 0
    return Work(0, weighted + spectrum(batch * frames, length, real=real))


def stored_integer(around: Around, place: int) -> int | None:
    """The value of an input that is one stored number."""
    value = around.node.inputs[place] if around.has(place) else None
    tensor = None if value is None else stored_tensor(value)
    return None if tensor is None else int(tensor.numpy().ravel()[0])


def table(operations: Mapping[int, str]) -> dict[str, int]:
    """By operator, its number of operations, from names by number."""
    return {name: count for count, text in operations.items() for name in text.split()}


PER_NUMBER_GIVEN = table({
    1: "Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitShift BitwiseAnd BitwiseNot "
       "BitwiseOr BitwiseXor Cast CastLike Ceil Cos Cosh CumProd CumSum Div Equal Erf Exp Floor "
       "Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Mod Mul Neg Not Or Pow "
       "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal Relu Round "
       "Sigmoid Sign Sin Sinh Sqrt Sub Tan Tanh Where Xor",
    2: "BatchNormalization Clip DequantizeLinear LeakyRelu PRelu Range ThresholdedRelu",
    3: "HammingWindow HannWindow RotaryEmbedding Shrink Softplus Softsign Swish",
    4: "Elu HardSigmoid QuantizeLinear",
    5: "BlackmanWindow Gelu HardSwish Mish Selu",
    6: "DynamicQuantizeLinear",
    7: "Celu",
})  # fmt: skip
"""Clip compares twice. Batch normalisation: a product and a sum. Softplus: exp, sum, log. Mish:
that, tanh, a product. Elu: a choice, exp, difference, product. Gelu: quotient, erf, sum, two
products; its approximation by tanh counts the same. Quantizing: quotient, rounding, sum, limits."""

PER_NUMBER_READ = table({
    1: "ArgMax ArgMin Col2Im GlobalAveragePool GlobalMaxPool NegativeLogLikelihoodLoss NonZero "
       "ReduceLogSum ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
    2: "GlobalLpPool Hardmax ReduceL1 ReduceL2 ReduceSumSquare",
    3: "LpNormalization",
    4: "RMSNormalization ReduceLogSumExp",
    5: "LogSoftmax MeanVarianceNormalization Softmax",
    6: "SoftmaxCrossEntropyLoss",
})  # fmt: skip
"""Softmax: largest, difference, exp, sum, quotient. RMS: square, sum, quotient, scale."""

MOVES = names(
    "BitCast CenterCropPad Compress Concat ConcatFromSequence Constant ConstantOfShape "
    "DepthToSpace Dropout Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop "
    "MaxUnpool OneHot Optional OptionalGetElement OptionalHasElement Pad Reshape ReverseSequence "
    "Scan SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SequenceMap Shape Size Slice SpaceToDepth Split SplitToSequence Squeeze Tile Transpose Trilu "
    "Unsqueeze"
)
"""Operators without arithmetic; what bodies do counts at the operators in them."""

OTHER_OPS: Mapping[str, Count] = {
    **{name: each_given(count) for name, count in PER_NUMBER_GIVEN.items()},
    **{name: each_read(count) for name, count in PER_NUMBER_READ.items()},
    **dict.fromkeys(MOVES, nothing),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), between_all),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND", "TensorScatter"), scattered),
    **dict.fromkeys(("Resize", "Upsample"), resized),
    "AffineGrid": affine_grid,
    "AveragePool": pooled(1),
    "DFT": dft,
    "Det": determinant,
    "GridSample": sampled,
    "GroupNormalization": affine_norm(6),
    "InstanceNormalization": affine_norm(6),
    "LRN": local_response,
    "LayerNormalization": affine_norm(6),
    "LpPool": pooled(2),
    "MaxPool": pooled(1),
    "RoiAlign": aligned_regions,
    "STFT": stft,
    "TopK": largest,
    "Unique": sorted_values,
}
"""Standard operators without products of the kind that ``MACS`` counts."""

MICROSOFT_OTHER_OPS: Mapping[str, Count] = {
    "BiasGelu": each_given(6),
    "DequantizeLinear": each_given(2),
    "FastGelu": each_given(5),
    "QLinearAdd": each_given(9),
    "QLinearAveragePool": pooled(1),
    "QLinearConcat": each_given(6),
    "QLinearGlobalAveragePool": each_read(1),
    "QLinearLeakyRelu": each_given(1),
    "QLinearMul": each_given(9),
    "QLinearSigmoid": each_given(1),
    "QLinearSoftmax": each_read(9),
    "Gelu": each_given(5),
    "QuantizeLinear": each_given(4),
    "QuickGelu": each_given(3),
    "RotaryEmbedding": each_given(3),
    "SimplifiedLayerNormalization": each_read(4),
    "SkipLayerNormalization": each_read(8),
    "SkipSimplifiedLayerNormalization": each_read(5),
}
"""ONNX Runtime's own. Codes are restored in two operations and made in four; functions of single
codes are looked up in a table."""
