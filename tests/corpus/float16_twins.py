"""Models in half precision, made from float32 ones: what exporters and converters give."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from packlight.model import Model
from packlight.testing.sketch import Sketch, value_info


def halved(model: onnx.ModelProto, *, casts: bool = True) -> onnx.ModelProto:
    """The model with float16 in place of float32, stored and computed.

    Args:
        model: stays as it is; it has no bodies.
        casts: whether inputs and outputs stay float32, with a Cast beside each.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        _halve(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _halve(attribute.t)
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    for end in (*graph.input, *graph.output):
        if end.type.tensor_type.elem_type == TensorProto.FLOAT:
            if casts:
                _cast_end(graph, end, is_input=end in graph.input)
            else:
                end.type.tensor_type.elem_type = TensorProto.FLOAT16
    return twin


def _halve(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        array = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _cast_end(graph: onnx.GraphProto, end: onnx.ValueInfoProto, *, is_input: bool) -> None:
    inner = f"{end.name}.half"
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == end.name:
                    names[index] = inner
    if is_input:
        cast = helper.make_node("Cast", [end.name], [inner], to=TensorProto.FLOAT16)
        graph.node.insert(0, cast)
    else:
        cast = helper.make_node("Cast", [inner], [end.name], to=TensorProto.FLOAT)
        graph.node.append(cast)


HEADS = 4


def transformer(width: int = 96, layers: int = 2, steps: int = 16) -> Model:
    """Tokens and positions, blocks of attention and products, and a product behind them."""
    net = Sketch(17)
    value = net.add("Gather", net.weight(64, width, fan_in=1), "tokens")
    value = net.add("Add", value, net.weight(1, steps, width, fan_in=4))
    for _ in range(layers):
        value = _block(net, value, width, steps)
    value = net.add("MatMul", value, net.weight(width, 64, fan_in=width))
    tokens = value_info("tokens", [1, steps], TensorProto.INT64)
    return net.model("transformer", [tokens], {value: [1, steps, 64]})


def _block(net: Sketch, value: str, width: int, steps: int) -> str:
    normed = _norm(net, value, width)
    shape = net.keep(np.array([1, steps, HEADS, width // HEADS]), "shape")
    heads = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        projected = net.add("MatMul", normed, net.weight(width, width, fan_in=width))
        projected = net.add("Add", projected, net.weight(width, fan_in=64))
        heads.append(net.add("Transpose", net.add("Reshape", projected, shape), perm=perm))
    scores = net.add("MatMul", heads[0], heads[1])
    scale = net.keep(np.array(1 / np.sqrt(width // HEADS), np.float32), "scale")
    scores = net.add("Softmax", net.add("Mul", scores, scale), axis=-1)
    mixed = net.add("Transpose", net.add("MatMul", scores, heads[2]), perm=[0, 2, 1, 3])
    mixed = net.add("Reshape", mixed, net.keep(np.array([1, steps, width]), "shape"))
    mixed = net.add("MatMul", mixed, net.weight(width, width, fan_in=width))
    value = net.add("Add", value, mixed)
    inner = net.add("MatMul", _norm(net, value, width), net.weight(width, 4 * width, fan_in=width))
    inner = net.add("Relu", net.add("Add", inner, net.weight(4 * width, fan_in=64)))
    inner = net.add("MatMul", inner, net.weight(4 * width, width, fan_in=4 * width))
    return net.add("Add", value, inner)


def _norm(net: Sketch, value: str, width: int) -> str:
    scale = net.keep(net.array(width, fan_in=100) + np.float32(1))
    return net.add("LayerNormalization", value, scale, net.weight(width, fan_in=100))
