"""Kernel calls of operators, from their shapes."""

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
class KernelOperator:
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

    def output(self) -> Sizes:
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
    shape = sizes_of(value)
    if shape is None:
        raise ModelError(
            f"latency is predicted for shapes that are known; around '{node.name}' "
            f"({node.op_type}) one is open: give the shapes of all inputs"
        )
    return shape


def _conv(operator: KernelOperator) -> Call:
    """A convolution; which kernel computes it goes by its dimensions and groups."""
    x = operator.read(0)
    weight = operator.read(1)
    y = operator.output()
    groups = operator.node.attributes.get_int("group", 1)
    inputs = weight[1]
    outputs = weight[0]
    area = math.prod(weight[2:])
    positions = y[0] * math.prod(y[2:])
    macs = math.prod(y) * inputs * area
    stride = math.prod(x[2:]) / math.prod(y[2:])
    moved = operator.moved(x, y, stored=weight)
    if groups > 1 and inputs == 1:
        filling = _block_filling(outputs)
        return operator.call("depthwise", macs, moved, outputs, area, positions, stride, filling)
    if groups > 1:
        filling = _block_filling(inputs) * _block_filling(outputs // groups)
        columns = outputs / groups
        return operator.call("grouped", macs, moved, inputs, columns, area, positions, filling)
    if len(x) != IMAGE:
        return operator.call("conv1d", macs, moved, inputs, outputs, area, positions)
    if inputs < STEM:
        return operator.call("stem", macs, moved, inputs * area, outputs, positions)
    filling = _block_filling(outputs) * _block_filling(inputs)
    if area == 1:
        return operator.call("pointwise", macs, moved, inputs, outputs, positions, stride, filling)
    return operator.call("conv", macs, moved, inputs, outputs, area, positions, stride, filling)


def _block_filling(channels: int) -> float:
    """Channels of whole blocks over channels.

    >>> _block_filling(24), _block_filling(64)
    (1.3333333333333333, 1.0)
    """
    return -(-channels // BLOCK) * BLOCK / max(channels, 1)


def _transposed_conv(operator: KernelOperator) -> Call:
    """A transposed convolution: every input makes a patch of outputs."""
    x = operator.read(0)
    weight = operator.read(1)
    y = operator.output()
    outputs = weight[1]
    area = math.prod(weight[2:])
    positions = x[0] * math.prod(x[2:])
    macs = math.prod(x) * outputs * area
    moved = operator.moved(x, y, stored=weight)
    return operator.call("transposed", macs, moved, x[1], outputs, area, positions)


def _gemm(operator: KernelOperator) -> Call:
    """A product of two matrices, the second stored."""
    y = operator.output()
    x = operator.read(0)
    sums = x[-1]
    if operator.node.attributes.get_int("transA", 0):
        sums = x[0]
    return _product(operator, y, sums, stored=True)


def _matmul(operator: KernelOperator) -> Call:
    """A product of matrices: one with a stored one, or a batch of computed ones."""
    weight = operator.read(1)
    stored = len(weight) == MATRIX or math.prod(weight[:-2]) == 1
    y = operator.output()
    if len(weight) <= 1:
        y = (*y, 1)
    return _product(operator, y, operator.read(0)[-1], stored)


def _product(operator: KernelOperator, y: Sizes, sums: int, stored: bool) -> Call:
    """Product of (..., rows, sums) with (..., sums, columns)."""
    columns = y[-1]
    macs = math.prod(y) * sums
    if stored:
        rows = math.prod(y[:-1])
        moved = operator.moved((rows, sums), y, stored=(sums, columns))
        if operator.weights != operator.dtype:
            return operator.call("blocks", macs, moved, rows, columns, sums)
        if rows == 1:
            return operator.call("vector", macs, moved, columns, sums)
        return operator.call("matmul", macs, moved, rows, columns, sums)
    rows = y[-2]
    batch = math.prod(y[:-2])
    moved = operator.moved((batch, rows, sums), (batch, sums, columns), y)
    return operator.call("batched", macs, moved, rows, columns, sums, batch)


GATES: Mapping[str, int] = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3, "RNN": 1}


def _recurrent(operator: KernelOperator) -> Call:
    """A recurrent layer over a sequence, in all its directions."""
    steps, batch, inputs = operator.read(0)
    ways, *sides = operator.read(2)
    hidden = min(sides)  # some weights lie the other way round
    gates = GATES[operator.node.op_type]
    stored = (ways, gates * hidden, inputs + hidden)
    macs = steps * batch * math.prod(stored)
    moved = operator.moved((steps, batch, inputs), (steps, ways, batch, hidden), stored=stored)
    return operator.call("recurrent", macs, moved, steps * batch, inputs, hidden)


def _elementwise(kind: str) -> Callable[[KernelOperator], Call]:
    """Kernels that compute each number by itself; ``add`` of unlike shapes is ``spread``."""

    def call(operator: KernelOperator) -> Call:
        y = operator.output()
        shapes = [
            sizes(value, operator.node) for value in operator.node.inputs if value is not None
        ]
        count = math.prod(y)
        moved = operator.moved(y, *shapes)
        alike = all(math.prod(shape) in (1, count) for shape in shapes)
        if kind in ("add", "divide") and not alike:
            return operator.call("spread", 0, moved, count)
        return operator.call(kind, 0, moved, count)

    return call


def _row_wise(kind: str) -> Callable[[KernelOperator], Call]:
    """Kernels over rows of the last axis, or of the axes that it takes away."""

    def call(operator: KernelOperator) -> Call:
        x = operator.read(0)
        y = operator.output()
        total = math.prod(x)
        width = math.prod(x[-1:])
        if kind == "reduce":
            width = total // max(math.prod(y), 1)
        return operator.call(kind, 0, operator.moved(x, y), total / max(width, 1), width)

    return call


def _pool(operator: KernelOperator) -> Call:
    x = operator.read(0)
    y = operator.output()
    window = operator.node.attributes.get_ints("kernel_shape", x[2:])
    return operator.call("pool", 0, operator.moved(x, y), math.prod(y), math.prod(window))


def _move(kind: str) -> Callable[[KernelOperator], Call]:
    """Kernels that move or convert the numbers that they give."""

    def call(operator: KernelOperator) -> Call:
        outputs = [v for v in operator.node.outputs if v.name]
        count = sum(math.prod(sizes(value, operator.node)) for value in outputs)
        bytes_of_number = 2 * BYTES[operator.dtype]
        if "quant" in kind:
            bytes_of_number = BYTES["float32"] + BYTES["int8"]
        return operator.call(kind, 0, count * bytes_of_number, count)

    return call


def _small(operator: KernelOperator) -> Call:
    del operator
    return SMALL


KERNELS: Mapping[str, Callable[[KernelOperator], Call]] = {op: call for operators, call in {
    "Conv QLinearConv ConvInteger FusedConv DeformConv": _conv,
    "ConvTranspose": _transposed_conv,
    "Gemm FusedGemm QGemm": _gemm,
    "MatMul FusedMatMul MatMulInteger QLinearMatMul": _matmul,
    "LSTM DynamicQuantizeLSTM GRU RNN": _recurrent,
    "Add Sub Mul Max Min Sum Mean And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Where "
    "BitShift BitwiseAnd BitwiseOr BitwiseXor BiasAdd": _elementwise("add"),
    "Div Mod Sqrt Reciprocal": _elementwise("divide"),
    "Relu Clip LeakyRelu PRelu Abs Neg Not Sign Floor Ceil Round HardSigmoid HardSwish Cast "
    "CastLike ThresholdedRelu BitwiseNot IsNaN IsInf": _elementwise("relu"),
    "Sigmoid": _elementwise("sigmoid"),
    "Tanh Mish": _elementwise("tanh"),
    "Erf": _elementwise("erf"),
    "Gelu FastGelu BiasGelu": _elementwise("gelu"),
    "QuickGelu Swish": _elementwise("swish"),
    "Exp Log Softplus Softsign Elu Selu Celu Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh "
    "Atanh": _elementwise("exp"),
    "Pow": _elementwise("power"),
    "BatchNormalization": _elementwise("batchnorm"),
    "Softmax LogSoftmax Hardmax": _row_wise("softmax"),
    "LayerNormalization SkipLayerNormalization SimplifiedLayerNormalization RMSNormalization "
    "SkipSimplifiedLayerNormalization InstanceNormalization GroupNormalization "
    "LpNormalization": _row_wise("norm"),
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare ArgMax ArgMin": _row_wise("reduce"),
    "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool": _pool,
    "Transpose DepthToSpace SpaceToDepth": _move("transpose"),
    "Resize Upsample GridSample": _move("resize"),
    "Concat Slice Split Pad Expand Tile ConstantOfShape Range Trilu ReverseSequence": _move("copy"),
    "Gather GatherElements GatherND ScatterND ScatterElements OneHot NonZero TopK "
    "CumSum": _move("gather"),
    "QuantizeLinear DynamicQuantizeLinear": _move("quantize"),
    "DequantizeLinear": _move("dequantize"),
    "Reshape Flatten Squeeze Unsqueeze Identity Constant Shape Size Dropout If Loop Scan Optional "
    "SequenceConstruct SequenceAt SequenceEmpty SequenceInsert ConcatFromSequence "
    "SplitToSequence": _small,
}.items() for op in names(operators)}  # fmt: skip
"""What each operator calls; one not listed is taken to move what it gives."""


def kernel(operator: KernelOperator) -> Call:
    """The call of a kernel that an operator becomes.

    Raises:
        ModelError: a shape around it is open.
    """
    return KERNELS.get(operator.op, _move("gather"))(operator)
