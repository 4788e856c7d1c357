"""Refuse a graph whose operators cannot take the shapes or types of their inputs.

ONNX finds most of it during shape inference. Stated shapes of intermediate values are ignored, for
ONNX Runtime believes the operators where the two differ. ONNX does not compare the channels of
convolutions, so that is done here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from packlight.errors import ModelError
from packlight.model.model import Model
from packlight.model.shapes import without_large_weights

FAULT = re.compile(r"\(op_type:(?P<op>[^,]*), node name: (?P<name>.*?)\): (?P<why>.*)")
"""A line of ONNX's message about one operator."""

MARK = re.compile(r"^\[\w+Error\] *")
TYPES = "elem type"
"""ONNX's words before the numbers of types."""

STATED = "existing shape"
"""ONNX's words where an output of the model has another shape than stated."""

UNKNOWN = "instead is null"
"""ONNX's words where it does not know the type of an input."""


def check_shapes(model: Model) -> None:
    """Check that all known shapes and types agree.

    Raises:
        ModelError: an operator cannot take its inputs.
    """
    fault = next(faults(without_large_weights(model.graph)), "")
    if fault:
        raise ModelError(
            f"'{model.name}' is not a valid ONNX model: {fault}. ONNX Runtime does not run it; "
            "correct the export and repeat it"
        )


def faults(proto: onnx.ModelProto) -> Iterator[str]:
    """Sentences about operators that cannot take their inputs."""
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        lines = str(error).splitlines()
        for line in lines:
            fault = FAULT.search(line)
            if fault is not None and STATED not in line and UNKNOWN not in line:
                yield _fault_sentence(fault)
        inferred = onnx.shape_inference.infer_shapes(proto)
    yield from _channel_faults(inferred.graph)


def _fault_sentence(fault: re.Match[str]) -> str:
    why = MARK.sub("", fault["why"])
    if TYPES in why:
        why = re.sub(r"\((\d+)\)", lambda match: ir.DataType(int(match[1])).name.lower(), why)
    return f"{fault['op']} '{fault['name']}' cannot take what it reads ({why})"


@dataclass(frozen=True, slots=True)
class ConvolutionInputs:
    """Indices of the inputs of a convolution."""

    activation: int
    weight: int
    bias: int


CONVOLUTIONS = {
    "Conv": ConvolutionInputs(0, 1, 2),
    "ConvInteger": ConvolutionInputs(0, 1, 4),
    "ConvTranspose": ConvolutionInputs(0, 1, 2),
    "QLinearConv": ConvolutionInputs(0, 3, 8),
}


def _channel_faults(graph: onnx.GraphProto) -> Iterator[str]:
    """Sentences about convolutions whose weight or bias has the wrong number of channels."""
    convolutions = [node for node in graph.node if node.op_type in CONVOLUTIONS and not node.domain]
    if not convolutions:
        return
    shapes = _stated_shapes(graph)
    for node in convolutions:
        index = CONVOLUTIONS[node.op_type]
        read = [shapes.get(name, ()) for name in node.input] + [()] * index.bias
        group = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
        activation = read[index.activation]
        weight = read[index.weight]
        if len(activation) > 1 and len(weight) > 1:
            yield from _mismatches(node, group, activation[1], weight, read[index.bias])


def _mismatches(
    node: onnx.NodeProto, group: int, channels: int, weight: tuple[int, ...], bias: tuple[int, ...]
) -> Iterator[str]:
    """Sentences about a convolution's channels; sizes below 0 are unknown.

    Args:
        node: the convolution.
        group: number of groups of channels.
        channels: of its input.
        weight: shape of its weight.
        bias: shape of its bias; empty where it has none.
    """
    expected = weight[1] * group
    produced = weight[0]
    if node.op_type == "ConvTranspose":
        expected = weight[0]
        produced = weight[1] * group
    what = f"{node.op_type} '{node.name}'"
    if min(channels, expected) > 0 and channels != expected:
        yield f"the weight of {what} is for {expected} channels, and what it reads has {channels}"
    if bias and min(bias[0], produced) > 0 and bias[0] != produced:
        yield f"the bias of {what} is for {bias[0]} channels, and its weight gives {produced}"


def _stated_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes of all values that state one, by name; -1 for an open dimension."""
    shapes: dict[str, tuple[int, ...]] = {}
    for info in (*graph.value_info, *graph.input, *graph.output):
        kind = info.type.tensor_type
        if kind.HasField("shape"):
            dims = (dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
            shapes[info.name] = tuple(dims)
    shapes.update((tensor.name, tuple(tensor.dims)) for tensor in graph.initializer)
    return shapes
