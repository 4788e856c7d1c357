"""The facts on ONNX Runtime, against the graphs that it writes when it optimizes."""

import dataclasses
import typing

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from packlight.backends.capabilities import STORED, Grid, capabilities, policy
from packlight.model import nodes
from packlight.planning.already_quantized import fused_pairs
from packlight.records.configs import IntegerRuntime

FACTS = capabilities("onnxruntime")
PICTURE = (1, 16, 8, 8)
ROWS = (4, 16)
SCALE = 0.05
OTHER_SCALE = 0.09
ZERO_POINTS = {"uint8": 128, "int8": 0, "uint16": 32768}
CODES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "uint16": TensorProto.UINT16}
INTEGER_KERNELS = ("QLinear", "QGemm", "MatMulInteger")


@dataclasses.dataclass(frozen=True)
class Form:
    """An operator between pairs: shapes of what it reads in codes, and what else it reads."""

    reads: tuple[tuple[int, ...], ...] = (PICTURE,)
    weight: tuple[int, ...] = ()
    bias: int = 0
    before: tuple = ()
    after: tuple = ()
    attributes: dict = dataclasses.field(default_factory=dict)
    outputs: int = 1
    per_channel: int | None = None


def integers(*numbers):
    return np.array(numbers, np.int64)


def floats(*shape):
    return np.ones(shape, np.float32)


POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
CONV = Form(weight=(8, 16, 3, 3), bias=8)
GEMM = Form((ROWS,), weight=(16, 8), bias=8)
MATMUL = Form((ROWS,), weight=(16, 8))
SCALES = (None, np.array([1, 1, 2, 2], np.float32))
TWO = Form((PICTURE, PICTURE))
AXES = Form(after=(integers(2, 3),))

FORMS = {
    "Conv": CONV,
    "ConvTranspose": Form(weight=(16, 8, 3, 3), bias=8),
    "Gemm": GEMM,
    "MatMul": MATMUL,
    "Concat": Form((PICTURE, PICTURE), attributes={"axis": 1}),
    "AveragePool": Form(attributes=POOL),
    "MaxPool": Form(attributes=POOL),
    "Clip": Form(after=(np.float32(-1), np.float32(1))),
    "Reshape": Form(after=(integers(1, -1),)),
    "Transpose": Form(attributes={"perm": [0, 2, 3, 1]}),
    "Squeeze": Form(after=(integers(0),)),
    "Unsqueeze": Form(after=(integers(0),)),
    "Slice": Form(after=(integers(0), integers(4), integers(1))),
    "Split": Form(attributes={"axis": 1, "num_outputs": 2}, outputs=2),
    "Resize": Form(after=SCALES, attributes={"mode": "nearest"}),
    "Gather": Form(after=(integers(0, 1),), attributes={"axis": 1}),
    "GatherElements": Form(after=(np.zeros((1, 2, 8, 8), np.int64),), attributes={"axis": 1}),
    "Where": Form((PICTURE, PICTURE), before=(np.ones(PICTURE, bool),)),
    "DepthToSpace": Form(attributes={"blocksize": 2}),
    "SpaceToDepth": Form(attributes={"blocksize": 2}),
    "Expand": Form(after=(integers(2, 16, 8, 8),)),
    "Tile": Form(after=(integers(1, 1, 2, 2),)),
    "LayerNormalization": Form((ROWS,), after=(floats(16), floats(16))),
    **dict.fromkeys(("Add", "Mul", "Sub", "Div", "PRelu"), TWO),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin"), AXES),
    **dict.fromkeys(
        ("Sigmoid", "Tanh", "Softmax", "LeakyRelu", "HardSwish", "Gelu", "Relu", "Flatten",
         "GlobalAveragePool"),
        Form(),
    ),
}  # fmt: skip
"""A form of every operator that the table of any runtime names."""

VARIANTS = {
    "Conv per channel": ("Conv", dataclasses.replace(CONV, per_channel=0)),
    "Gemm per channel": ("Gemm", dataclasses.replace(GEMM, per_channel=1)),
    "MatMul per channel": ("MatMul", dataclasses.replace(MATMUL, per_channel=1)),
    "Gemm alpha": ("Gemm", dataclasses.replace(GEMM, attributes={"alpha": 0.5})),
    "Gemm beta": ("Gemm", dataclasses.replace(GEMM, attributes={"beta": 0.5})),
    "Gemm transA": ("Gemm", Form(((16, 4),), (16, 8), 8, attributes={"transA": 1})),
    "Gemm transB": ("Gemm", Form((ROWS,), (8, 16), 8, attributes={"transB": 1})),
    "MatMul of computed": ("MatMul", Form((ROWS, (16, 4)))),
    "MatMul of many": ("MatMul", Form(((2, 4, 16),), weight=(16, 8))),
    "Resize linear": ("Resize", Form(after=SCALES, attributes={"mode": "linear"})),
    "Resize cubic": ("Resize", Form(after=SCALES, attributes={"mode": "cubic"})),
    "Softmax of channels": ("Softmax", Form(attributes={"axis": 1})),
    "Conv, stored floats": ("Conv", Form(after=(floats(8, 16, 3, 3), floats(8)))),
    "Conv, float bias": ("Conv", dataclasses.replace(CONV, bias=0, after=(floats(8),))),
    "Gemm, stored floats": ("Gemm", Form((ROWS,), after=(floats(16, 8), floats(8)))),
    "MatMul, stored floats": ("MatMul", Form((ROWS,), after=(floats(16, 8),))),
    "Add, stored floats": ("Add", Form(after=(floats(1, 16, 1, 1),))),
    "Mul, stored floats": ("Mul", Form(after=(floats(1, 16, 1, 1),))),
}
ALL = {**{op: (op, form) for op, form in FORMS.items()}, **VARIANTS}


class Net:
    """Builds an operator between pairs."""

    def __init__(self, codes, scales):
        self.codes, self.scales = codes, scales
        self.nodes, self.stored, self.inputs, self.outputs = [], [], [], []

    def keep(self, array):
        name = f"stored{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op, inputs, count=1, **attributes):
        outputs = [f"value{len(self.nodes)}.{index}" for index in range(count)]
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs

    def grid(self, scale):
        zero_point = np.array(ZERO_POINTS[self.codes], self.codes)
        return [self.keep(np.float32(scale)), self.keep(zero_point)]

    def pair(self, value, scale):
        grid = self.grid(scale)
        (codes,) = self.add("QuantizeLinear", [value, *grid])
        return self.add("DequantizeLinear", [codes, *grid])[0]

    def read(self, shape):
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self.pair(name, self.scales[0])

    def weight(self, form):
        axis, count = form.per_channel, 1
        if axis is not None:
            count = form.weight[axis]
        scale = np.full(count if axis is not None else (), 0.02, np.float32)
        numbers = np.random.default_rng(0).integers(-60, 60, form.weight).astype(np.int8)
        named = {} if axis is None else {"axis": axis}
        zero = self.keep(np.zeros(scale.shape, np.int8))
        values = self.add("DequantizeLinear", [self.keep(numbers), self.keep(scale), zero], **named)
        if form.bias:
            step = self.keep((scale * np.float32(SCALE)).astype(np.float32))
            codes = self.keep(np.zeros(form.bias, np.int32))
            values += self.add("DequantizeLinear", [codes, step], **({"axis": 0} if named else {}))
        return values

    def model(self, op, form, *, quantized):
        inputs = [self.keep(array) for array in form.before]
        inputs += [self.read(shape) for shape in form.reads]
        inputs += self.weight(form) if form.weight else []
        inputs += ["" if array is None else self.keep(array) for array in form.after]
        for value in self.add(op, inputs, form.outputs, **form.attributes):
            output = self.pair(value, self.scales[1]) if quantized else value
            self.outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def optimized(model, folder):
    """Types of the operators that ONNX Runtime runs in a model's place."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    data = model.SerializeToString()
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def is_fused(types, op, form, *, quantized):
    """Whether no pair is left but at the ends, and the kernel in between is of integers."""
    ends = len(form.reads), form.outputs if quantized else 0
    if (types.count("QuantizeLinear"), types.count("DequantizeLinear")) != ends:
        return False
    moves = op in types and quantized
    return moves or any(kind.startswith(INTEGER_KERNELS) for kind in types)


def foretold(op, form, codes, scales, *, quantized):
    """What the table says."""
    bits = np.iinfo(codes).bits
    grids = [Grid(scale, ZERO_POINTS[codes], bits) for scale in scales]
    reads = [grids[0] for _ in form.reads]
    if form.weight:
        reads += [Grid("weight", 0)] * (2 if form.bias else 1)
    if op in FACTS.weight_operators + FACTS.integer_operators:
        reads += [STORED for _ in form.after]
    writes = [grids[1] if quantized else None for _ in range(form.outputs)]
    return FACTS.fuses_qdq(op, reads, writes, form.attributes)


def seen_by_plan(proto, op):
    """Operators of a type that a plan takes to compute in integers."""
    graph = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    integer = fused_pairs(graph, list(nodes(graph))).integer
    return [node for node in integer if node.op_type == op]


SAME = (SCALE, SCALE)
GRIDS = {"one grid": ("uint8", SAME), "two grids": ("uint8", (SCALE, OTHER_SCALE)),
         "int8": ("int8", SAME), "uint16": ("uint16", SAME)}  # fmt: skip


@pytest.mark.parametrize("quantized", [True, False], ids=["codes", "floats"])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ALL)
def test_what_is_said_to_fuse_is_fused_and_nothing_else(name, grid, quantized, tmp_path):
    (op, form), (codes, scales) = ALL[name], GRIDS[grid]
    model = Net(codes, scales).model(op, form, quantized=quantized)
    try:
        types = optimized(model, tmp_path)
    except Fail as error:  # ONNX Runtime 1.31 writes a wrong pair behind what moves int8
        assert op in FACTS.code_movers
        assert (codes, quantized) == ("int8", False)
        assert "does not match y_zero_point" in str(error)
        return

    fused = is_fused(types, op, form, quantized=quantized)
    assert fused == foretold(op, form, codes, scales, quantized=quantized), types
    assert fused == bool(seen_by_plan(model, op)), types


def test_every_operator_that_a_table_names_has_a_form():
    named = set()
    for runtime in typing.get_args(IntegerRuntime):
        facts = capabilities(runtime)
        named |= {*facts.weight_operators, *facts.integer_operators, *facts.code_movers}
        named |= {*facts.clipping, *policy(runtime).choices.keep_float}

    assert named == set(FORMS)


def clipped(op, bounds, zero_point, scale):
    """A convolution of integers with a clipping operator before its pair."""
    net = Net("uint8", SAME)
    inputs = [net.read(PICTURE), *net.weight(CONV)]
    (value,) = net.add("Conv", inputs)
    (value,) = net.add(op, [value, *(net.keep(np.float32(bound)) for bound in bounds)])
    grid = [net.keep(np.float32(scale)), net.keep(np.uint8(zero_point))]
    (codes,) = net.add("QuantizeLinear", [value, *grid])
    (output,) = net.add("DequantizeLinear", [codes, *grid])
    net.outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    graph = helper.make_graph(net.nodes, "g", net.inputs, net.outputs, net.stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("scale", [0.02, 6 / 255, 0.05])
@pytest.mark.parametrize("zero_point", [0, 10, 128])
@pytest.mark.parametrize(("op", "bounds"), [("Relu", ()), ("Clip", (0, 6)), ("Clip", (-1, 1))])
def test_clipping_disappears_where_the_grid_does_it(op, bounds, zero_point, scale, tmp_path):
    model = clipped(op, bounds, zero_point, scale)
    types = optimized(model, tmp_path)

    covered = (-zero_point * np.float32(scale), (255 - zero_point) * np.float32(scale))
    fused = "QLinearConv" in types
    assert fused == FACTS.clips_by_grid(op, bounds or (0, np.inf), covered), types
    assert fused == bool(seen_by_plan(model, "Conv")), types


def biased(shape, *, quantized, activation):
    """A MatMul of integers with a stored bias, and an activation, before a pair."""
    net = Net("uint8", SAME)
    form = Form((shape,), weight=(16, 8))
    (value,) = net.add("MatMul", [net.read(shape), *net.weight(form)])
    (value,) = net.add("Add", [value, net.keep(floats(8))])
    if activation:
        (value,) = net.add(activation, [value])
    if quantized:
        grid = [net.keep(np.float32(SCALE)), net.keep(np.uint8(0))]
        (codes,) = net.add("QuantizeLinear", [value, *grid])
        (value,) = net.add("DequantizeLinear", [codes, *grid])
    net.outputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    graph = helper.make_graph(net.nodes, "g", net.inputs, net.outputs, net.stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("activation", ["", "Relu"])
@pytest.mark.parametrize("quantized", [True, False], ids=["codes", "floats"])
@pytest.mark.parametrize("shape", [(4, 16), (2, 4, 16)])
def test_a_product_with_a_bias_is_a_gemm_of_integers_before_codes_only(
    shape, quantized, activation, tmp_path
):
    model = biased(shape, quantized=quantized, activation=activation)
    types = optimized(model, tmp_path)

    fused = "QGemm" in types
    assert fused == (quantized and not (activation and len(shape) > 2)), types
    assert fused == bool(seen_by_plan(model, "MatMul")), types


def blocked(op, block, bits, *, shape=(512, 32), bias=None, **attributes):
    """A product with a weight in blocks of codes."""
    kind = {2: TensorProto.UINT2, 4: TensorProto.UINT4, 8: TensorProto.UINT8}[bits]
    axis = 1 if attributes.get("transB") else 0
    inner = shape[axis]
    scales = [size // block if place == axis else size for place, size in enumerate(shape)]
    numbers = np.arange(np.prod(shape)) % 2**bits
    stored = [
        helper.make_tensor("codes", kind, shape, numbers.tolist()),
        numpy_helper.from_array(np.full(scales, 0.02, np.float32), "scale"),
    ]
    restore = helper.make_node(
        "DequantizeLinear", ["codes", "scale"], ["weight"], axis=axis, block_size=block
    )
    inputs = ["x", "weight"]
    if bias is not None:
        stored.append(numpy_helper.from_array(floats(*bias), "bias"))
        inputs.append("bias")
    product = helper.make_node(op, inputs, ["y"], **attributes)
    read = [inner, 3] if attributes.get("transA") else [3, inner]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
              for name, shape in (("x", read), ("y", None))]  # fmt: skip
    graph = helper.make_graph([restore, product], "g", values[:1], values[1:], stored)
    imports = [helper.make_opsetid("", 25)]
    return helper.make_model(graph, opset_imports=imports, ir_version=12)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("block", [8, 16, 32, 64, 128, 256, 512])
@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_products_of_blocks_are_fused_in_the_sizes_that_the_table_has(op, block, bits, tmp_path):
    types = optimized(blocked(op, block, bits), tmp_path)

    said = FACTS.fuses_blocked_dequantize(op, (512, 32), block, bits)
    assert said == (types == [FACTS.blocked_products.kernel]), types


@pytest.mark.parametrize(
    ("attributes", "bias"),
    [({}, (32,)), ({}, (1, 32)), ({}, (1,)), ({"alpha": 0.5}, (32,)), ({"beta": 0.5}, (32,)),
     ({"transA": 1}, (32,)), ({"transB": 1}, None)],
)  # fmt: skip
def test_a_gemm_of_blocks_is_fused_where_it_is_a_product_and_a_bias(attributes, bias, tmp_path):
    shape = (32, 512) if "transB" in attributes else (512, 32)
    types = optimized(blocked("Gemm", 32, 4, shape=shape, bias=bias, **attributes), tmp_path)

    said = FACTS.fuses_blocked_dequantize("Gemm", (512, 32), 32, 4,
                                          attributes=attributes, bias=bias)  # fmt: skip
    assert said == (types == [FACTS.blocked_products.kernel]), types
