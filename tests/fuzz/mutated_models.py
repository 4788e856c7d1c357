"""Seeded mutations of ONNX models: attributes, shapes, types, names, edges and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from random import Random
from typing import TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from packlight.model import to_bytes
from packlight.testing.networks import NETWORKS

T = TypeVar("T")
Mutation = Callable[[onnx.ModelProto, Random], None]

INTEGERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 8, 17, 255, 2**20, 2**31 - 1, 2**63 - 1)
FLOATS = (float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e-45, 0.5, 1.0, 1e30)
SIZES = (0, 1, 2, 3, 7, 8, 33, 2**20, 2**40)
NAMES = (
    "", " ", "a" * 3000, "\x1b[31mred", "\u202eevil", "\x9b2J", "naïve/ñ", "x", "y", "../../etc",
    "'", '"%s"', "{}", "[bold]", "=", "a\nb", "\x00",
)  # fmt: skip
OPERATORS = (
    "Add", "Mul", "MatMul", "Gemm", "Conv", "ConvTranspose", "Relu", "Softmax", "Reshape", "Gather",
    "Transpose", "Concat", "Slice", "Split", "Resize", "LSTM", "GRU", "If", "Loop", "Scan", "Pad",
    "BatchNormalization", "LayerNormalization", "QuantizeLinear", "DequantizeLinear", "Cast",
    "RandomNormalLike", "Dropout", "SplitToSequence", "SequenceAt", "Optional", "Identity",
    "Constant", "ConstantOfShape", "Expand", "Tile", "Range", "NonZero", "TopK", "Einsum",
    "FusedMatMul", "Attention", "MatMulNBits", "LabelEncoder", "ZipMap", "Scaler", "Nonsense",
)  # fmt: skip
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "strange.domain")


@cache
def network(name: str) -> bytes:
    """The file of a network of the conformance suite, before it is mutated."""
    return to_bytes(NETWORKS[name]())


@cache
def texts_and_sequences() -> bytes:
    """Labels as texts, a sequence and an optional among the outputs, and a stored text."""
    weight = numpy_helper.from_array(
        np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32), "w"
    )
    words = helper.make_tensor(
        "words", TensorProto.STRING, [16], [f"w{i}".encode() for i in range(16)]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"], name="product"),
        helper.make_node("ArgMax", ["scores"], ["best"], name="best", axis=-1, keepdims=0),
        helper.make_node("Gather", ["words", "best"], ["label"], name="label"),
        helper.make_node("SplitToSequence", ["scores"], ["parts"], name="split", axis=1),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["batch"]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 16]),
        helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])]
    graph = helper.make_graph(nodes, "texts", inputs, outputs, [weight, words])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def base_models() -> list[str]:
    """Names of the models that are mutated."""
    return [*NETWORKS, "texts"]


def base_model(name: str) -> onnx.ModelProto:
    """A model to mutate, by name."""
    data = texts_and_sequences() if name == "texts" else network(name)
    return onnx.load_from_string(data)


def mutated(name: str, random: Random) -> onnx.ModelProto:
    """A model with one to three mutations."""
    model = base_model(name)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(MUTATIONS)(model, random)
    return model


def _all_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    nodes = list(model.graph.node)
    for node in list(nodes):
        nodes += [inner for entry in node.attribute for inner in entry.g.node]
    for function in model.functions:
        nodes += function.node
    return nodes


def _pick(items: Iterable[T], random: Random) -> T | None:
    choices = list(items)
    return random.choice(choices) if choices else None


def _values(model: onnx.ModelProto) -> list[str]:
    names = [name for node in _all_nodes(model) for name in (*node.input, *node.output)]
    return [*names, *(tensor.name for tensor in model.graph.initializer), ""]


def change_attribute(model: onnx.ModelProto, random: Random) -> None:
    """Another number, text or list in an attribute, or none at all."""
    node = _pick((node for node in _all_nodes(model) if node.attribute), random)
    if node is None:
        return
    entry = random.choice(list(node.attribute))
    if random.random() < 0.15:
        node.attribute.remove(entry)
    elif entry.type == onnx.AttributeProto.INT:
        entry.i = random.choice(INTEGERS)
    elif entry.type == onnx.AttributeProto.FLOAT:
        entry.f = random.choice(FLOATS)
    elif entry.type == onnx.AttributeProto.STRING:
        entry.s = random.choice(NAMES).encode()
    elif entry.type == onnx.AttributeProto.INTS:
        _change_list(entry.ints, INTEGERS, random)
    elif entry.type == onnx.AttributeProto.FLOATS:
        _change_list(entry.floats, FLOATS, random)
    elif entry.type == onnx.AttributeProto.TENSOR:
        _change_tensor(entry.t, random)


def _change_list(values: list[T], choices: Sequence[T], random: Random) -> None:
    changed = list(values)
    kind = random.randrange(3)
    if kind == 0 and changed:
        changed[random.randrange(len(changed))] = random.choice(choices)
    elif kind == 1:
        changed.append(random.choice(choices))
    elif changed:
        changed.pop()
    del values[:]
    values.extend(changed)


def add_attribute(model: onnx.ModelProto, random: Random) -> None:
    """An attribute that an operator does not expect, or one of another type."""
    node = _pick(_all_nodes(model), random)
    if node is None:
        return
    name = random.choice(
        ("axis", "group", "to", "alpha", "pads", "strides", "hidden_size", "transB", "perm", "x")
    )
    value = random.choice((random.choice(INTEGERS), random.choice(FLOATS), "text", [1, -1], [0.5]))
    node.attribute.append(helper.make_attribute(name, value))


def _change_tensor(tensor: TensorProto, random: Random) -> None:
    """Other values, shape or type of a stored tensor; mostly with the bytes that it needs."""
    kind = random.randrange(6)
    if kind == 0 and tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice(SIZES)
        return
    if kind == 1:
        tensor.data_type = random.choice(list(TensorProto.DataType.values()))
        return
    if tensor.data_type == TensorProto.STRING or tensor.data_type not in range(1, 12):
        return
    try:
        array = numpy_helper.to_array(tensor).copy()
    except ValueError:  # an earlier mutation gave it a shape that its bytes do not have
        return
    if kind == 2:
        array = array.reshape(-1)
    elif kind == 3:
        array = array[:0] if array.ndim else array[None]
    elif kind == 4:
        array = array.astype(
            random.choice(("float16", "float64", "int8", "int64", "float32", "bool"))
        )
    elif array.size and array.dtype.kind == "f":
        array.reshape(-1)[random.randrange(array.size)] = random.choice(FLOATS)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def change_weight(model: onnx.ModelProto, random: Random) -> None:
    """Another stored value."""
    tensor = _pick(model.graph.initializer, random)
    if tensor is not None:
        with np.errstate(all="ignore"):
            _change_tensor(tensor, random)


def change_interface(model: onnx.ModelProto, random: Random) -> None:
    """Another type or shape of an input or output, or of a value in between."""
    graph = model.graph
    info = _pick((*graph.input, *graph.output, *graph.value_info), random)
    if info is None or not info.type.HasField("tensor_type"):
        return
    kind = info.type.tensor_type
    if random.random() < 0.4:
        kind.elem_type = random.choice(list(TensorProto.DataType.values()))
    elif random.random() < 0.3:
        kind.ClearField("shape")
    elif kind.shape.dim:
        dim = random.choice(list(kind.shape.dim))
        if random.random() < 0.3:
            dim.dim_param = random.choice(NAMES)
        else:
            dim.dim_value = random.choice((*SIZES, -1))


def rename(model: onnx.ModelProto, random: Random) -> None:
    """Another name of an operator, or of a value wherever it stands."""
    name = random.choice(NAMES)
    if random.random() < 0.4:
        node = _pick(_all_nodes(model), random)
        if node is not None:
            node.name = name
        return
    old = random.choice(_values(model))
    for node in _all_nodes(model):
        for names in (node.input, node.output):
            for index, value in enumerate(names):
                if value == old:
                    names[index] = name
    for entry in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        if entry.name == old:
            entry.name = name


def rewire(model: onnx.ModelProto, random: Random) -> None:
    """Another value at an input of an operator, one input less or more, or two swapped."""
    node = _pick((node for node in _all_nodes(model) if node.input), random)
    if node is None:
        return
    kind = random.randrange(4)
    index = random.randrange(len(node.input))
    if kind == 0:
        node.input[index] = random.choice(_values(model))
    elif kind == 1:
        del node.input[index]
    elif kind == 2:
        node.input.append(random.choice(_values(model)))
    else:
        node.input[index], node.input[0] = node.input[0], node.input[index]


def change_operators(model: onnx.ModelProto, random: Random) -> None:
    """An operator of another type or domain, one twice, or one less."""
    node = _pick(model.graph.node, random)
    if node is None:
        return
    kind = random.randrange(4)
    if kind == 0:
        node.op_type = random.choice(OPERATORS)
    elif kind == 1:
        node.domain = random.choice(DOMAINS)
        if node.domain and random.random() < 0.5:
            model.opset_import.append(helper.make_opsetid(node.domain, 1))
    elif kind == 2:
        model.graph.node.append(node)
    else:
        model.graph.node.remove(node)


def change_outputs(model: onnx.ModelProto, random: Random) -> None:
    """An output more: a value, an input, a weight, or one that is there already; or one less."""
    name = random.choice(_values(model))
    if random.random() < 0.2 and model.graph.output:
        del model.graph.output[random.randrange(len(model.graph.output))]
        return
    info = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    if random.random() < 0.3:
        info.ClearField("type")
    model.graph.output.append(info)


def change_header(model: onnx.ModelProto, random: Random) -> None:
    """Another opset or version of the format."""
    if random.random() < 0.7 and model.opset_import:
        random.choice(list(model.opset_import)).version = random.choice(
            (0, 1, 7, 11, 13, 17, 21, 23, 99)
        )
    else:
        model.ir_version = random.choice((0, 3, 4, 8, 10, 99))


MUTATIONS: tuple[Mutation, ...] = (
    change_attribute, change_attribute, add_attribute, change_weight, change_weight,
    change_interface, rename, rewire, rewire, change_operators, change_outputs, change_header,
)  # fmt: skip
