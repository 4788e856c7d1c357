"""Refuse a graph whose operators cannot take what they are given, before anything is told of it.

ONNX finds most of it while it infers types and shapes. What a graph merely states of results in
between is left out, for ONNX Runtime believes the operators where the two differ. Of convolutions
ONNX does not compare channels, so that is done here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import onnx
import onnx_ir as ir

from packlight.errors import ModelError
from packlight.model.check import subgraphs
from packlight.model.model import Model
from packlight.model.shapes import LARGE

FAULT = re.compile(r"\(op_type:(?P<op>[^,]*), node name: (?P<name>.*?)\): (?P<why>.*)")
"""A line in which ONNX says what an operator cannot take."""

MARK = re.compile(r"^\[\w+Error\] *")
TYPES = "elem type"
"""What ONNX says before numbers of types."""

STATED = "existing shape"
"""What ONNX says where an output of the model is of another shape than the model states."""

UNKNOWN = "instead is null"
"""What ONNX says where it does not know the type that an operator reads."""


def check_shapes(model: Model) -> None:
    """Check that all shapes and types that are known agree.

    Raises:
        ModelError: an operator cannot take what it reads.
    """
    fault = next(faults(sketched(model.graph)), "")
    if fault:
        raise ModelError(
            f"'{model.name}' is not a valid ONNX model: {fault}. ONNX Runtime does not run it; "
            "mend what wrote it, and export it again"
        )


def sketched(model: ir.Model) -> onnx.ModelProto:
    """A model without large weights and without shapes of results in between.

    Weights are inputs here. Nothing is cloned, for that takes longest where graphs are large.
    """
    graph = model.graph
    fed = {str(value.name) for value in graph.inputs}
    large = {name: tensor for name, value in graph.initializers.items()
             if (tensor := value.const_value) is not None and tensor.nbytes > LARGE}  # fmt: skip
    weights = [
        ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()))
        for name, tensor in large.items()
        if name not in fed
    ]
    view = ir.GraphView(
        [*graph.inputs, *weights], graph.outputs, nodes=graph, name=graph.name,
        initializers=[value for name, value in graph.initializers.items() if name not in large],
        opset_imports=graph.opset_imports,
    )  # fmt: skip
    proto = ir.to_proto(
        ir.Model(
            cast("ir.Graph", view),
            ir_version=model.ir_version,
            functions=[*model.functions.values()],
        )
    )
    for one in (proto.graph, *subgraphs(proto.graph.node)):
        del one.value_info[:]
    return proto


def faults(proto: onnx.ModelProto) -> Iterator[str]:
    """What operators cannot take, one by one."""
    try:
        whole = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        lines = str(error).splitlines()
        found = (FAULT.search(line) for line in lines if STATED not in line and UNKNOWN not in line)
        yield from (told(one) for one in found if one is not None)
        whole = onnx.shape_inference.infer_shapes(proto)
    yield from channels(whole.graph)


def told(fault: re.Match[str]) -> str:
    """What an operator cannot take, without ONNX's marks and numbers of types."""
    why = MARK.sub("", fault["why"])
    if TYPES in why:
        why = re.sub(r"\((\d+)\)", lambda one: ir.DataType(int(one[1])).name.lower(), why)
    return f"{fault['op']} '{fault['name']}' cannot take what it reads ({why})"


@dataclass(frozen=True, slots=True)
class Places:
    """Which inputs of a convolution are its values, its weight and its bias."""

    values: int
    weight: int
    bias: int


CONVOLUTIONS = {
    "Conv": Places(0, 1, 2),
    "ConvInteger": Places(0, 1, 4),
    "ConvTranspose": Places(0, 1, 2),
    "QLinearConv": Places(0, 3, 8),
}


def channels(graph: onnx.GraphProto) -> Iterator[str]:
    """Convolutions whose weights or biases are for other channels than there are."""
    known = [node for node in graph.node if node.op_type in CONVOLUTIONS and not node.domain]
    shapes = dict(sizes(graph)) if known else {}
    for node in known:
        at = CONVOLUTIONS[node.op_type]
        read = [shapes.get(name, ()) for name in node.input] + [()] * at.bias
        group = next((one.i for one in node.attribute if one.name == "group"), 1)
        values, weight, bias = read[at.values], read[at.weight], read[at.bias]
        if len(values) > 1 and len(weight) > 1:
            yield from unlike(node, group, values[1], weight, bias)


def unlike(
    node: onnx.NodeProto, group: int, there: int, weight: tuple[int, ...], bias: tuple[int, ...]
) -> Iterator[str]:
    """What does not agree in a convolution; sizes below 0 are not known.

    Args:
        node: the convolution.
        group: into how many parts its channels are split.
        there: channels that it reads.
        weight: shape of its weight.
        bias: shape of its bias; empty where it has none.
    """
    turned = node.op_type == "ConvTranspose"
    wanted, given = (weight[0], weight[1] * group) if turned else (weight[1] * group, weight[0])
    what = f"{node.op_type} '{node.name}'"
    if min(there, wanted) > 0 and there != wanted:
        yield f"the weight of {what} is for {wanted} channels, and what it reads has {there}"
    if bias and min(bias[0], given) > 0 and bias[0] != given:
        yield f"the bias of {what} is for {bias[0]} channels, and its weight gives {given}"


def sizes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Shapes of all values that are known to have one, by name; -1 for an open dimension."""
    for info in (*graph.value_info, *graph.input, *graph.output):
        kind = info.type.tensor_type
        if kind.HasField("shape"):
            dims = (dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
            yield info.name, tuple(dims)
    yield from ((one.name, tuple(one.dims)) for one in graph.initializer)
