"""Arithmetic besides multiply-accumulates, in elementary operations on single numbers.

An operation is a sum, difference, product, quotient, comparison, choice, conversion, or one value
of an elementary function (exp, log, root, power, sigmoid, tanh, erf, sine, ...). An operator counts
by its definition, number by number, without what many numbers share (a reciprocal of a deviation, a
scale). Moving numbers costs none.
Source: the operator specifications of ONNX up to opset 23; for DFT the count of FFTW's benchmarks,
5 n log2(n), and half of it for real input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from packlight.model import optional_input, stored_tensor
from packlight.profiling.counts import (
    Count,
    OperatorShapes,
    UnknownError,
    Work,
    element_count,
    names,
)


def _per_output(operations: int) -> Count:
    return lambda shapes: Work(0, operations * element_count(shapes.first_output()))


def _per_input(operations: int) -> Count:
    return lambda shapes: Work(0, operations * element_count(shapes.input(0)))


def _no_arithmetic(shapes: OperatorShapes) -> Work:
    del shapes
    return Work()


def _between_all(shapes: OperatorShapes) -> Work:
    inputs = sum(value is not None for value in shapes.node.inputs)
    mean = shapes.node.op_type == "Mean"
    return Work(0, (inputs - 1 + mean) * element_count(shapes.output()))


def _affine_norm(plain: int) -> Count:
    return lambda shapes: Work(0, (plain + shapes.has(2)) * element_count(shapes.input(0)))


def _local_response(shapes: OperatorShapes) -> Work:
    return Work(0, (shapes.integer("size", 1) + 5) * element_count(shapes.input(0)))


def pooled(operations: int) -> Count:
    """Count pooling: so many operations for each number under each position of the window."""

    def count(shapes: OperatorShapes) -> Work:
        window = element_count(tuple(shapes.node.attributes.get_ints("kernel_shape", [])))
        return Work(0, operations * window * element_count(shapes.first_output()))

    return count


POINTS = {"nearest": 0, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}
"""Points along an axis that an interpolated number depends on."""


def resized(shapes: OperatorShapes) -> Work:
    """Resize: a product and a sum for each neighboring point, along the axes that change."""
    pairs = zip(shapes.output(), shapes.input(0), strict=True)
    changed = sum(size != source_size for size, source_size in pairs)
    return _interpolated(shapes, changed)


def _sampled(shapes: OperatorShapes) -> Work:
    return _interpolated(shapes, len(shapes.input(0)) - 2)


def _interpolated(shapes: OperatorShapes, axes: int) -> Work:
    """Count a product and a sum for each neighboring point of each number of the output."""
    default = "linear" if shapes.node.op_type == "GridSample" else "nearest"
    mode = shapes.text("mode", default)
    if mode not in POINTS:
        raise UnknownError(f"mode '{mode}' is not known")
    count = element_count(shapes.output())
    if not POINTS[mode] or not axes:
        return Work()
    note = ""
    if shapes.integer("antialias", 0):
        note = "antialias widens the filter by a factor that is not counted"
    return Work(0, 2 * POINTS[mode] ** axes * count, note)


def _aligned_regions(shapes: OperatorShapes) -> Work:
    ratio = shapes.integer("sampling_ratio", 0)
    if ratio < 1:
        raise UnknownError("with sampling_ratio 0 its work depends on the size of each region")
    return Work(0, 9 * ratio**2 * element_count(shapes.output()))


def affine_grid(shapes: OperatorShapes) -> Work:
    """AffineGrid: each coordinate is a product with a row of theta."""
    return Work(0, 2 * shapes.input(0)[-1] * element_count(shapes.output()))


def determinant(shapes: OperatorShapes) -> Work:
    """Det by elimination: 2/3 n^3 for each (n, n)."""
    shape = shapes.input(0)
    return Work(0, round(2 / 3 * element_count(shape) * shape[-1]))


def largest(shapes: OperatorShapes) -> Work:
    """TopK with a heap of k: log2(k + 1) comparisons for each number."""
    axis = shapes.integer("axis", -1)
    depth = math.ceil(math.log2(shapes.first_output()[axis] + 1))
    return Work(0, element_count(shapes.input(0)) * depth)


def _sorted_values(shapes: OperatorShapes) -> Work:
    total = element_count(shapes.input(0))
    return Work(0, total * math.ceil(math.log2(max(total, 1))))


def _scattered(shapes: OperatorShapes) -> Work:
    if shapes.text("reduction", "none") == "none":
        return Work(0, 0)
    return Work(0, element_count(shapes.input(2)))


def _spectrum(transforms: int, length: int, *, real: bool) -> int:
    if length <= 1:
        return 0
    return round(transforms * (2.5 if real else 5) * length * math.log2(length))


def _dft(shapes: OperatorShapes) -> Work:
    """DFT along one axis of (..., 1 or 2)."""
    shape = shapes.input(0)
    stored = stored_integer(shapes, 2)
    if shapes.has(2) and stored is None:
        raise UnknownError("its axis is computed")
    axis = stored
    if axis is None:
        axis = shapes.integer("axis", 1)
    axis %= len(shape)
    length = shape[axis]
    if shapes.has(1):
        length = shapes.output()[axis]
        if shapes.integer("onesided", 0):
            length = 2 * (length - 1)
    transforms = element_count(shape[:-1]) // max(shape[axis], 1)
    return Work(0, _spectrum(transforms, length, real=shape[-1] == 1))


def _stft(shapes: OperatorShapes) -> Work:
    """STFT: every frame is weighted by the window and transformed."""
    batch, frames, bins, _ = shapes.output()
    signal = shapes.input(0)
    length = shapes.input(2)[0] if shapes.has(2) else stored_integer(shapes, 3)
    if length is None:
        length = 2 * (bins - 1) if shapes.integer("onesided", 1) else bins
    real = signal[-1] == 1 or len(signal) == 2  # noqa: PLR2004
    weighted = batch * frames * length * (2 - real) * shapes.has(2)
    return Work(0, weighted + _spectrum(batch * frames, length, real=real))


def stored_integer(shapes: OperatorShapes, index: int) -> int | None:
    """The value of an input that is one stored number."""
    tensor = stored_tensor(optional_input(shapes.node, index))
    if tensor is None:
        return None
    return int(tensor.numpy().ravel()[0])


def table(operations: Mapping[int, str]) -> dict[str, int]:
    """Operations by operator, from names by number of operations."""
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
"""Clip compares twice. Batch normalization: a product and a sum. Softplus: exp, sum, log. Mish: as
Softplus, tanh, a product. Elu: a choice, exp, difference, product. Gelu: quotient, erf, sum, two
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
"""Operators without arithmetic; bodies count at the operators in them."""

OTHER_OPS: Mapping[str, Count] = {
    **{name: _per_output(count) for name, count in PER_NUMBER_GIVEN.items()},
    **{name: _per_input(count) for name, count in PER_NUMBER_READ.items()},
    **dict.fromkeys(MOVES, _no_arithmetic),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), _between_all),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND", "TensorScatter"), _scattered),
    **dict.fromkeys(("Resize", "Upsample"), resized),
    "AffineGrid": affine_grid,
    "AveragePool": pooled(1),
    "DFT": _dft,
    "Det": determinant,
    "GridSample": _sampled,
    "GroupNormalization": _affine_norm(6),
    "InstanceNormalization": _affine_norm(6),
    "LRN": _local_response,
    "LayerNormalization": _affine_norm(6),
    "LpPool": pooled(2),
    "MaxPool": pooled(1),
    "RoiAlign": _aligned_regions,
    "STFT": _stft,
    "TopK": largest,
    "Unique": _sorted_values,
}
"""Standard operators without products of the kind that ``MACS`` counts."""

MICROSOFT_OTHER_OPS: Mapping[str, Count] = {
    "BiasGelu": _per_output(6),
    "DequantizeLinear": _per_output(2),
    "FastGelu": _per_output(5),
    "QLinearAdd": _per_output(9),
    "QLinearAveragePool": pooled(1),
    "QLinearConcat": _per_output(6),
    "QLinearGlobalAveragePool": _per_input(1),
    "QLinearLeakyRelu": _per_output(1),
    "QLinearMul": _per_output(9),
    "QLinearSigmoid": _per_output(1),
    "QLinearSoftmax": _per_input(9),
    "Gelu": _per_output(5),
    "QuantizeLinear": _per_output(4),
    "QuickGelu": _per_output(3),
    "RotaryEmbedding": _per_output(3),
    "SimplifiedLayerNormalization": _per_input(4),
    "SkipLayerNormalization": _per_input(8),
    "SkipSimplifiedLayerNormalization": _per_input(5),
}
"""ONNX Runtime's own. Dequantizing takes two operations and quantizing four; functions of single
codes are table lookups."""
