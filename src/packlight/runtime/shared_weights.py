"""A model whose weights a session reads where they are, instead of from a copy in a file."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import Model

Floats = NDArray[np.float32]

LEAST = 1024
"""Bytes from which a weight is shared; smaller numbers may be read while the graph is built."""

NOWHERE = "shared"
"""The file that a shared weight is said to lie in; nobody opens it."""


def apart(model: Model) -> tuple[Model, dict[str, Floats]]:
    """A clone that only names its larger float32 weights, and those weights by name.

    Those in subgraphs stay inside.
    """
    clone = model.graph.clone()
    shared = {}
    for name, value in clone.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        if only_read(value) and shareable(tensor):
            shared[name] = read(tensor)
            value.const_value = ir.TensorProtoTensor(named(name, tensor))
    return Model(clone, model.name), shared


def only_read(value: ir.Value) -> bool:
    """Whether operators read a stored value, and nobody else; ONNX Runtime takes no other."""
    return bool(value.uses()) and not (value.is_graph_input() or value.is_graph_output())


def shareable(tensor: ir.TensorProtocol) -> bool:
    """Whether a stored value is float32, and large enough."""
    return tensor.dtype == ir.DataType.FLOAT and tensor.nbytes >= LEAST


def read(tensor: ir.TensorProtocol) -> Floats:
    """The numbers; of external data a mapping of their own, which others cannot close."""
    if isinstance(tensor, ir.ExternalTensor):
        tensor = ir.ExternalTensor(
            tensor.location, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape,
            name=str(tensor.name), base_dir=tensor.base_dir,
        )  # fmt: skip
    return np.ascontiguousarray(tensor.numpy(), np.float32)


def named(name: str, tensor: ir.TensorProtocol) -> onnx.TensorProto:
    """What a file says of a weight that lies elsewhere."""
    proto = onnx.TensorProto(
        name=name, data_type=int(tensor.dtype), dims=tensor.shape.numpy(),
        data_location=onnx.TensorProto.EXTERNAL,
    )  # fmt: skip
    for key, text in (("location", NOWHERE), ("offset", "0"), ("length", str(tensor.nbytes))):
        proto.external_data.add(key=key, value=text)
    return proto
