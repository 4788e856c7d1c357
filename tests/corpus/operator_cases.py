"""Each operator of ONNX that formats of devices are given, with inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx_ir as ir

from packlight.model import Model

ENOUGH_DB = 100.0
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """One operator: inputs that are computed (arrays), stored inputs, attributes."""

    op_type: str
    inputs: Sequence[Any]
    stored: Mapping[int, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    places: Sequence[int] = ()
    note: str = ""
    decibels: float = ENOUGH_DB

    def __str__(self) -> str:
        return f"{self.op_type}-{self.note}" if self.note else self.op_type


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(normal(*shape)) + np.float32(0.1)


def long(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


IMAGE = normal(1, 4, 7, 9)
LINE = normal(2, 6, 11)
MATRIX = normal(3, 5)
UNARY = [
    "Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin",
    "Softplus", "Softsign", "Tan", "Tanh", "Erf", "Elu", "Selu", "Celu", "HardSwish", "HardSigmoid",
    "LeakyRelu", "Mish", "Identity", "Reciprocal", "ThresholdedRelu", "GlobalAveragePool",
    "GlobalMaxPool", "Softmax", "LogSoftmax", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "Flatten",
    "LpNormalization", "MeanVarianceNormalization", "Hardmax",
]  # fmt: skip
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum", "PRelu"]
POSITIVE = ["Log", "Sqrt", "ReduceLogSum"]
COMPARISONS = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]

CASES = [
    *(Case(name, [IMAGE]) for name in UNARY),
    *(Case(name, [positive(1, 4, 7, 9)]) for name in POSITIVE),
    *(Case(name, [IMAGE], {1: normal(4, 1, 1)}) for name in BINARY),
    *(Case(name, [IMAGE, normal(1, 4, 1, 9)], note="computed") for name in BINARY),
    *(Case(name, [np.round(IMAGE), np.round(normal(1, 4, 7, 1))]) for name in COMPARISONS),
    Case("Gelu", [IMAGE], opset=20),
    Case("Gelu", [IMAGE], attributes={"approximate": "tanh"}, opset=20, note="tanh"),
    Case("And", [IMAGE > 0, IMAGE > 1]),
    Case("Or", [IMAGE > 0, IMAGE > 1]),
    Case("Xor", [IMAGE > 0, IMAGE > 1]),
    Case("Not", [IMAGE > 0]),
    Case("Clip", [IMAGE], {1: np.float32(-0.5), 2: np.float32(0.7)}),
    Case("Clip", [IMAGE], {1: np.float32(0), 2: np.float32(6)}, note="relu6"),
    Case("Pow", [positive(2, 3)], {1: np.float32(1.7)}),
    Case("Pow", [normal(2, 3)], {1: np.float32(2)}, note="square"),
    Case("Mod", [long(7, -7, 5), long(3, 3, -3)]),
    Case("Div", [long(7, -8, 5), long(3, 2, 2)], note="integers"),
    Case("Where", [IMAGE > 0, IMAGE, normal(1, 4, 1, 1)]),
    Case("Cast", [IMAGE], attributes={"to": onnx.TensorProto.INT32}),
    Case("Cast", [np.round(IMAGE)], attributes={"to": onnx.TensorProto.BOOL}, note="bool"),
    Case("Softmax", [IMAGE], attributes={"axis": 1}, note="channels"),
    Case("Softmax", [IMAGE], attributes={"axis": 2}, opset=11, note="flattened"),
    Case("ReduceMean", [IMAGE], {1: long(2, 3)}, {"keepdims": 0}, note="axes"),
    Case("ReduceSum", [IMAGE], {1: long(-3)}, note="negative axis"),
    Case("ArgMax", [IMAGE], attributes={"axis": 1, "keepdims": 0}),
    Case("ArgMin", [IMAGE], attributes={"axis": 2}),
    Case("CumSum", [MATRIX], {1: np.int64(1)}),
    Case("CumSum", [MATRIX], {1: np.int64(0)}, {"reverse": 1, "exclusive": 1}, note="reverse"),
    Case("TopK", [normal(3, 8)], {1: long(3)}, outputs=2),
    Case("TopK", [normal(8, 3)], {1: long(2)}, {"axis": 0, "largest": 0}, outputs=2, note="least"),
    Case("Conv", [IMAGE], {1: normal(6, 4, 3, 3), 2: normal(6)}, {"pads": [1, 1, 1, 1]}),
    Case("Conv", [IMAGE], {1: normal(6, 4, 3, 2)}, {"strides": [2, 2]}, note="valid"),
    Case("Conv", [IMAGE], {1: normal(6, 4, 3, 3)}, {"pads": [2, 0, 1, 1], "strides": [2, 1]},
         note="uneven"),
    Case("Conv", [IMAGE], {1: normal(6, 4, 3, 3)}, {"dilations": [2, 2], "pads": [2] * 4},
         note="dilated"),
    Case("Conv", [IMAGE], {1: normal(6, 2, 3, 3)}, {"group": 2}, note="groups"),
    Case("Conv", [IMAGE], {1: normal(8, 1, 3, 3), 2: normal(8)}, {"group": 4, "pads": [1] * 4},
         note="depthwise"),
    Case("Conv", [IMAGE], {1: normal(6, 4, 3, 3)}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
         note="same lower"),
    Case("Conv", [LINE], {1: normal(4, 6, 3), 2: normal(4)}, {"pads": [1, 1]}, note="line"),
    Case("Conv", [LINE], {1: normal(6, 1, 5)}, {"group": 6, "strides": [2]}, note="depthwise line"),
    Case("Conv", [normal(1, 2, 4, 5, 6)], {1: normal(3, 2, 3, 3, 3), 2: normal(3)},
         {"pads": [1] * 6}, note="volume"),
    Case("Conv", [IMAGE, normal(6, 4, 3, 3)], note="computed weight"),
    Case("ConvTranspose", [IMAGE], {1: normal(4, 6, 3, 3), 2: normal(6)}),
    Case("ConvTranspose", [IMAGE], {1: normal(4, 3, 3, 3)},
         {"group": 2, "strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}, note="groups"),
    Case("ConvTranspose", [LINE], {1: normal(6, 4, 4)}, {"strides": [2], "dilations": [2]},
         note="line"),
    Case("MaxPool", [IMAGE], attributes={"kernel_shape": [3, 3], "pads": [1] * 4}),
    Case("MaxPool", [IMAGE],
         attributes={"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, note="ceil"),
    Case("MaxPool", [IMAGE - 9], attributes={"kernel_shape": [3, 3], "pads": [2, 0, 0, 1]},
         note="uneven"),
    Case("MaxPool", [LINE], attributes={"kernel_shape": [3], "strides": [2]}, note="line"),
    Case("AveragePool", [IMAGE], attributes={"kernel_shape": [3, 3], "pads": [1] * 4}),
    Case("AveragePool", [IMAGE],
         attributes={"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "count_include_pad": 1},
         note="counts padding"),
    Case("AveragePool", [IMAGE],
         attributes={"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, opset=19,
         note="ceil"),
    Case("AveragePool", [LINE], attributes={"kernel_shape": [2], "strides": [2]}, note="line"),
    Case("MatMul", [normal(2, 3, 5)], {1: normal(5, 4)}),
    Case("MatMul", [normal(2, 3, 5), normal(2, 5, 4)], note="computed"),
    Case("MatMul", [normal(2, 1, 3, 5), normal(4, 5, 2)], note="broadcast"),
    Case("MatMul", [normal(5)], {1: normal(5, 4)}, note="vector"),
    Case("MatMul", [normal(2, 3, 5), normal(5)], note="by vector"),
    Case("Gemm", [MATRIX], {1: normal(5, 4), 2: normal(4)}),
    Case("Gemm", [MATRIX], {1: normal(4, 5), 2: normal(3, 4)},
         {"transB": 1, "alpha": 0.5, "beta": 2.0}, note="scaled"),
    Case("Gemm", [MATRIX, normal(3, 4)], attributes={"transA": 1}, note="computed"),
    Case("Einsum", [normal(2, 3, 4), normal(2, 5, 4)], attributes={"equation": "bik,bjk->bij"}),
    Case("Reshape", [IMAGE], {1: long(0, -1, 9)}),
    Case("Transpose", [IMAGE], attributes={"perm": [0, 2, 3, 1]}),
    Case("Transpose", [normal(2, 3, 4, 2, 3)], attributes={"perm": [4, 0, 3, 1, 2]}, note="five"),
    Case("Squeeze", [normal(1, 3, 1, 4)], {1: long(2)}),
    Case("Unsqueeze", [MATRIX], {1: long(0, 3)}),
    Case("Concat", [IMAGE, normal(1, 2, 7, 9)], attributes={"axis": 1}),
    Case("Split", [IMAGE], {1: long(1, 3)}, {"axis": 1}, outputs=2),
    Case("Slice", [IMAGE], {1: long(1, -4), 2: long(3, 100), 3: long(1, 3)}),
    Case("Slice", [IMAGE], {1: long(-1, 0), 2: long(-100, 9), 3: long(2, 3), 4: long(-2, 3)},
         note="backwards"),
    Case("Pad", [IMAGE], {1: long(0, 0, 1, 2, 0, 1, 0, 3), 2: np.float32(1.5)}),
    Case("Pad", [IMAGE], {1: long(0, 0, 1, 2, 0, 0, 2, 1)}, {"mode": "reflect"}, note="reflect"),
    Case("Pad", [IMAGE], {1: long(0, 0, 1, 2, 0, 0, 2, 1)}, {"mode": "edge"}, note="edge"),
    Case("Pad", [IMAGE], {1: long(0, 0, -1, 2, 0, 0, 2, -3)}, note="negative"),
    Case("Expand", [normal(4, 1)], {1: long(2, 4, 3)}),
    Case("Tile", [MATRIX], {1: long(2, 3)}),
    Case("DepthToSpace", [normal(1, 8, 3, 2)], attributes={"blocksize": 2}),
    Case("DepthToSpace", [normal(1, 8, 3, 2)], attributes={"blocksize": 2, "mode": "CRD"},
         note="CRD"),
    Case("SpaceToDepth", [normal(1, 2, 4, 6)], attributes={"blocksize": 2}),
    Case("Trilu", [normal(2, 4, 5)], {1: np.int64(1)}),
    Case("Gather", [IMAGE], {1: long(2, -1, 0)}, {"axis": 1}),
    Case("Gather", [IMAGE], {1: np.int64(-2)}, {"axis": 1}, note="scalar"),
    Case("Gather", [long(3, -1, 0)], {0: normal(7, 5)}, note="embedding"),
    Case("GatherElements", [MATRIX, np.array([[0, -1], [2, 1]], np.int64)],
         attributes={"axis": 1}),
    Case("GatherND", [IMAGE, np.array([[0, 3], [0, -1]], np.int64)]),
    Case("ScatterND", [normal(4, 3), normal(2, 3)], {1: np.array([[2], [-4]], np.int64)}),
    Case("ScatterElements", [normal(3, 4), normal(2, 2)], {1: np.array([[0, 1], [2, 0]])},
         {"axis": 1}),
    Case("OneHot", [long(1, 0, 3)], {1: np.int64(4), 2: np.array([0, 1], np.float32)}),
    Case("BatchNormalization", [IMAGE],
         {1: normal(4), 2: normal(4), 3: normal(4), 4: positive(4)}),
    Case("LayerNormalization", [normal(2, 3, 8)], {1: normal(8), 2: normal(8)}),
    Case("InstanceNormalization", [IMAGE], {1: normal(4), 2: normal(4)}),
    Case("GroupNormalization", [IMAGE], {1: normal(4), 2: normal(4)}, {"num_groups": 2}, opset=21),
    Case("LRN", [IMAGE], attributes={"size": 3}),
    Case("Resize", [IMAGE], {3: long(1, 4, 14, 18)}),
    Case("Resize", [IMAGE], {2: np.array([1, 1, 0.6, 1.7], np.float32)}, note="nearest scales"),
    Case("Resize", [IMAGE], {3: long(1, 4, 14, 18)}, {"mode": "linear"}, note="linear"),
    Case("Resize", [IMAGE], {3: long(1, 4, 5, 17)},
         {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, note="corners"),
    Case("Resize", [IMAGE], {3: long(1, 4, 14, 13)},
         {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, note="asymmetric"),
    Case("Resize", [IMAGE], {3: long(1, 4, 14, 13)}, {"mode": "cubic"}, note="cubic"),
    Case("LSTM", [normal(3, 2, 4), normal(1, 2, 5), normal(1, 2, 5)],
         {1: normal(1, 20, 4), 2: normal(1, 20, 5), 3: normal(1, 40)}, {"hidden_size": 5},
         outputs=3, places=(0, 5, 6)),
    Case("LSTM", [normal(3, 2, 4)], {1: normal(2, 20, 4), 2: normal(2, 20, 5)},
         {"hidden_size": 5, "direction": "bidirectional"}, outputs=3, note="both ways"),
    Case("GRU", [normal(3, 2, 4)], {1: normal(1, 15, 4), 2: normal(1, 15, 5), 3: normal(1, 30)},
         {"hidden_size": 5, "linear_before_reset": 1}, outputs=2),
    Case("GRU", [normal(3, 2, 4)], {1: normal(1, 15, 4), 2: normal(1, 15, 5), 3: normal(1, 30)},
         {"hidden_size": 5, "direction": "reverse"}, outputs=2, note="reverse"),
    Case("RNN", [normal(3, 2, 4)], {1: normal(1, 5, 4), 2: normal(1, 5, 5)}, {"hidden_size": 5},
         outputs=2),
]  # fmt: skip


def model_of(case: Case) -> tuple[Model, dict[str, np.ndarray]]:
    """The case as a model, and what to feed it."""
    free = [index for index in range(8) if index not in case.stored]
    places = case.places or free[: len(case.inputs)]
    feeds = {f"input{place}": array for place, array in zip(places, case.inputs, strict=True)}
    stored = [
        onnx.numpy_helper.from_array(np.asarray(array), f"stored{place}")
        for place, array in case.stored.items()
    ]
    names = {place: f"input{place}" for place in places}
    names |= {place: f"stored{place}" for place in case.stored}
    inputs = [names.get(place, "") for place in range(max(names) + 1)]
    outputs = [f"output{index}" for index in range(case.outputs)]
    node = oh.make_node(case.op_type, inputs, outputs, name="tested", **case.attributes)
    values = [
        oh.make_tensor_value_info(name, oh.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    graph = oh.make_graph([node], "g", values, [], stored)
    opsets = [oh.make_opsetid("", case.opset)]
    inferred = onnx.shape_inference.infer_shapes(
        oh.make_model(graph, opset_imports=opsets, ir_version=10)
    )
    known = {value.name: value for value in inferred.graph.value_info}
    like_input = oh.make_tensor_value_info(outputs[0], 1, np.shape(case.inputs[0]))
    inferred.graph.output.extend(known.get(name, like_input) for name in outputs)
    return Model(ir.from_proto(inferred), "case"), feeds
