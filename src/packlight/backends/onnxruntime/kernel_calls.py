"""Operators with their shapes, as calls of kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from packlight.backends.onnxruntime.kernel_call import BYTES, SMALL, Call, Dtype, log2
from packlight.errors import ModelError
from packlight.profiling.counts import names
from packlight.profiling.shape_values import sizes_of

Sizes = tuple[int, ...]

IMAGE = 4
MATRIX = 2
"""Dimensions of a batch of pictures, and of a matrix."""

STEM = 16
"""Input channels below which convolutions read pictures as they come."""

BLOCK = 16
"""Channels that a vector of 512 bits holds; what a machine with shorter ones saves is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """An operator where it stands.

    Attributes:
        node: the operator.
        dtype: of its products and of what it moves.
        weights: the same of what is stored.
        extra: bytes that it reads for operators fused into it.
        named: type of the operator that it is fused into; empty where it stays itself.
    """

    node: ir.Node
    dtype: Dtype = "float32"
    weights: Dtype = "float32"
    extra: float = 0.0
    named: str = ""

    @property
    def op(self) -> str:
        """Type of operator whose kernel computes it."""
        return self.named or str(self.node.op_type)

    def read(self, index: int) -> Sizes:
        """Shape of an input."""
        return sizes(self.node.inputs[index], self.node)

    def given(self) -> Sizes:
        """Shape of the first output that is asked for."""
        return sizes(next(value for value in self.node.outputs if value.name), self.node)

    def moved(self, *shapes: Sizes, stored: Sizes = (0,)) -> float:
        """Bytes of computed numbers, and of stored ones."""
        computed = sum(math.prod(shape) for shape in shapes) * BYTES[self.dtype]
        return computed + math.prod(stored) * BYTES[self.weights] + self.extra

    def call(self, kind: str, macs: float, moved: float, *shape: float) -> Call:
        """A call whose features are given as numbers."""
        return Call(kind, self.dtype, float(macs), moved, tuple(map(log2, shape)))


def sizes(value: ir.Value | None, node: ir.Node) -> Sizes:
    """Shape of a value.

    Raises:
        ModelError: it is open.
    """
    found = None if value is None else sizes_of(value)
    if found is None:
        raise ModelError(
            f"latency is predicted for shapes that are known; around '{node.name}' "
            f"({node.op_type}) one is open: give the shapes of all inputs"
        )
    return found


def conv(place: Place) -> Call:
    """A convolution; which kernel computes it goes by its dimensions and groups."""
    x = place.read(0)
    weight = place.read(1)
    y = place.given()
    groups = place.node.attributes.get_int("group", 1)
    inputs = weight[1]
    outputs = weight[0]
    area = math.prod(weight[2:])
    positions = y[0] * math.prod(y[2:])
    macs = math.prod(y) * inputs * area
    stride = math.prod(x[2:]) / math.prod(y[2:])
    moved = place.moved(x, y, stored=weight)
    lost = waste(outputs) * (waste(inputs) if inputs > 1 else 1)
    if groups > 1:
        if inputs == 1:
            return place.call("depthwise", macs, moved, outputs, area, positions, stride, lost)
        each = outputs / groups
        lost = waste(inputs) * waste(outputs // groups)
        return place.call("grouped", macs, moved, inputs, each, area, positions, lost)
    if len(x) != IMAGE:
        return place.call("conv1d", macs, moved, inputs, outputs, area, positions)
    if inputs < STEM:
        return place.call("stem", macs, moved, inputs * area, outputs, positions)
    if area == 1:
        return place.call("pointwise", macs, moved, inputs, outputs, positions, stride, lost)
    return place.call("conv", macs, moved, inputs, outputs, area, positions, stride, lost)


def waste(channels: int) -> float:
    """Channels of whole blocks over channels.

    >>> waste(24), waste(64)
    (1.3333333333333333, 1.0)
    """
    return -(-channels // BLOCK) * BLOCK / max(channels, 1)


def transposed(place: Place) -> Call:
    """A transposed convolution: every input makes a patch of outputs."""
    x = place.read(0)
    weight = place.read(1)
    y = place.given()
    outputs = weight[1]
    area = math.prod(weight[2:])
    positions = x[0] * math.prod(x[2:])
    macs = math.prod(x) * outputs * area
    moved = place.moved(x, y, stored=weight)
    return place.call("transposed", macs, moved, x[1], outputs, area, positions)


def gemm(place: Place) -> Call:
    """A product of two matrices, the second stored."""
    y = place.given()
    inner = place.read(0)
    sums = inner[0] if place.node.attributes.get_int("transA", 0) else inner[-1]
    return product(place, y, sums, stored=True)


def matmul(place: Place) -> Call:
    """A product of matrices: one with a stored one, or a batch of computed ones."""
    stored = len(place.read(1)) == MATRIX or math.prod(place.read(1)[:-2]) == 1
    y = place.given()
    return product(place, y if len(place.read(1)) > 1 else (*y, 1), place.read(0)[-1], stored)


def product(place: Place, y: Sizes, sums: int, stored: bool) -> Call:
    """What multiplies (..., rows, sums) with (..., sums, columns)."""
    columns = y[-1]
    macs = math.prod(y) * sums
    if stored:
        rows = math.prod(y[:-1])
        moved = place.moved((rows, sums), y, stored=(sums, columns))
        if place.weights != place.dtype:
            return place.call("blocks", macs, moved, rows, columns, sums)
        if rows == 1:
            return place.call("vector", macs, moved, columns, sums)
        return place.call("matmul", macs, moved, rows, columns, sums)
    rows = y[-2]
    batch = math.prod(y[:-2])
    moved = place.moved((batch, rows, sums), (batch, sums, columns), y)
    return place.call("batched", macs, moved, rows, columns, sums, batch)


GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(place: Place) -> Call:
    """A recurrent layer over a sequence, in all its directions."""
    steps, batch, inputs = place.read(0)
    ways, _, hidden = place.read(2)
    stored = (ways, GATES[place.node.op_type] * hidden, inputs + hidden)
    macs = steps * batch * math.prod(stored)
    moved = place.moved((steps, batch, inputs), (steps, ways, batch, hidden), stored=stored)
    return place.call("recurrent", macs, moved, steps * batch, inputs, hidden)


def elementwise(kind: str) -> Callable[[Place], Call]:
    """What computes each number by itself; ``add`` of unlike shapes is ``spread``."""

    def call(place: Place) -> Call:
        y = place.given()
        shapes = [sizes(value, place.node) for value in place.node.inputs if value is not None]
        count = math.prod(y)
        alike = all(math.prod(shape) in (1, count) for shape in shapes)
        named = "spread" if kind in ("add", "divide") and not alike else kind
        return place.call(named, 0, place.moved(y, *shapes), count)

    return call


def rows(kind: str) -> Callable[[Place], Call]:
    """What computes over rows of the last axis, or of the axes that it takes away."""

    def call(place: Place) -> Call:
        x = place.read(0)
        y = place.given()
        total = math.prod(x)
        width = x[-1] if x else 1
        if kind == "reduce":
            width = total // max(math.prod(y), 1)
        return place.call(kind, 0, place.moved(x, y), total / max(width, 1), width)

    return call


def pool(place: Place) -> Call:
    """A window over pictures, or over all of each."""
    x = place.read(0)
    y = place.given()
    window = place.node.attributes.get_ints("kernel_shape", x[2:])
    return place.call("pool", 0, place.moved(x, y), math.prod(y), math.prod(window))


def moves(kind: str) -> Callable[[Place], Call]:
    """What moves or converts the numbers that it gives."""

    def call(place: Place) -> Call:
        given = [v for v in place.node.outputs if v.name]
        count = sum(math.prod(sizes(value, place.node)) for value in given)
        each = BYTES["float32"] + BYTES["int8"] if "quant" in kind else 2 * BYTES[place.dtype]
        return place.call(kind, 0, count * each, count)

    return call


def small(place: Place) -> Call:
    """What takes no time that depends on its shape."""
    del place
    return SMALL


def table(found: Mapping[str, Callable[[Place], Call]]) -> dict[str, Callable[[Place], Call]]:
    """By operator, from words that list operators."""
    return {op: call for ops, call in found.items() for op in names(ops)}


KERNELS: Mapping[str, Callable[[Place], Call]] = table({
    "Conv QLinearConv ConvInteger FusedConv DeformConv": conv,
    "ConvTranspose": transposed,
    "Gemm FusedGemm QGemm": gemm,
    "MatMul FusedMatMul MatMulInteger QLinearMatMul": matmul,
    "LSTM GRU RNN": recurrent,
    "Add Sub Mul Max Min Sum Mean And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Where "
    "BitShift BitwiseAnd BitwiseOr BitwiseXor BiasAdd": elementwise("add"),
    "Div Mod Sqrt Reciprocal": elementwise("divide"),
    "Relu Clip LeakyRelu PRelu Abs Neg Not Sign Floor Ceil Round HardSigmoid HardSwish Cast "
    "CastLike ThresholdedRelu BitwiseNot IsNaN IsInf": elementwise("relu"),
    "Sigmoid": elementwise("sigmoid"),
    "Tanh Mish": elementwise("tanh"),
    "Erf": elementwise("erf"),
    "Gelu FastGelu BiasGelu": elementwise("gelu"),
    "QuickGelu Swish": elementwise("swish"),
    "Exp Log Softplus Softsign Elu Selu Celu Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh "
    "Atanh": elementwise("exp"),
    "Pow": elementwise("power"),
    "BatchNormalization": elementwise("batchnorm"),
    "Softmax LogSoftmax Hardmax": rows("softmax"),
    "LayerNormalization SkipLayerNormalization SimplifiedLayerNormalization RMSNormalization "
    "SkipSimplifiedLayerNormalization InstanceNormalization GroupNormalization "
    "LpNormalization": rows("norm"),
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare ArgMax ArgMin": rows("reduce"),
    "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool": pool,
    "Transpose DepthToSpace SpaceToDepth": moves("transpose"),
    "Resize Upsample GridSample": moves("resize"),
    "Concat Slice Split Pad Expand Tile ConstantOfShape Range Trilu ReverseSequence": moves("copy"),
    "Gather GatherElements GatherND ScatterND ScatterElements OneHot NonZero TopK "
    "CumSum": moves("gather"),
    "QuantizeLinear DynamicQuantizeLinear": moves("quantize"),
    "DequantizeLinear": moves("dequantize"),
    "Reshape Flatten Squeeze Unsqueeze Identity Constant Shape Size Dropout If Loop Scan Optional "
    "SequenceConstruct SequenceAt SequenceEmpty SequenceInsert ConcatFromSequence "
    "SplitToSequence": small,
})  # fmt: skip
"""What each operator calls; one not listed is taken to move what it gives."""


def kernel(place: Place) -> Call:
    """The call of a kernel that an operator becomes.

    Raises:
        ModelError: a shape around it is open.
    """
    return KERNELS.get(place.op, moves("gather"))(place)
