"""The small models that are damaged, and ways to draw and write others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from packlight import zoo

node = helper.make_node
info = helper.make_tensor_value_info
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
WIDTH = 4
X, Y = info("x", FLOAT, ["n", WIDTH]), info("y", FLOAT, ["n", WIDTH])


def weight(name: str = "w", fill: float | None = None) -> TensorProto:
    """A stored matrix (4, 4): small different numbers, or one number."""
    array = np.linspace(-1, 1, WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)
    return numpy_helper.from_array(array if fill is None else np.full_like(array, fill), name)


def stored(name: str, values: object, dtype: type = np.int64) -> TensorProto:
    """Any stored values."""
    return numpy_helper.from_array(np.array(values, dtype), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[TensorProto] = (),
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (X,),
    outputs: Sequence[onnx.ValueInfoProto] = (Y,),
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of a few operators, from x (n, 4) to y (n, 4) where nothing else is said."""
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def plain() -> onnx.ModelProto:
    """The model that most others differ from in one thing: Relu(x w)."""
    return model([node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["y"])], [weight()])


def write(folder: Path, content: onnx.ModelProto | bytes, name: str = "model.onnx") -> Path:
    """Write a model or any bytes."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


@cache
def fashion() -> bytes:
    """The zoo's classifier as it is shipped."""
    return zoo.model_path("fashion").read_bytes()


def as_varint(number: int) -> bytes:
    """A number in protobuf's base 128."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def field(number: int, payload: bytes) -> bytes:
    """A protobuf field that holds bytes; for messages that the library does not write."""
    return as_varint(number << 3 | 2) + as_varint(len(payload)) + payload
