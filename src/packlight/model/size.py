"""The exact size of a model's file, without computing its weights.

A file is a protobuf message: every field is a tag, a length where it has one, and its bytes. All
but the raw bytes of the weights is serialised for real; those are counted from shape and type.
Source: the Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from packlight.model.model import graphs

TAG = 1
"""Bytes of the tag of every field that matters here: all have numbers below 16."""


def file_size(model: ir.Model) -> int:
    """Bytes of the model's file with its weights inside.

    Stored values of the main graph are not computed; those of subgraphs are.
    """
    clone = self_contained(model)
    weights = sum(field_size(tensor_size(v)) for v in clone.graph.initializers.values())
    for name, value in clone.graph.initializers.items():
        value.const_value = ir.Tensor(np.zeros(0, np.uint8), name=name)
    proto = ir.to_proto(clone)
    empty = sum(field_size(tensor.ByteSize()) for tensor in proto.graph.initializer)
    graph = proto.graph.ByteSize() - empty + weights
    proto.ClearField("graph")
    return int(proto.ByteSize()) + field_size(graph)


def self_contained(model: ir.Model) -> ir.Model:
    """A clone as it is written: weights inside, and types of weights said once, in the tensor."""
    clone = model.clone()
    for graph in graphs(clone):
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = inlined(tensor)
            if not (value.metadata_props or value.is_graph_input() or value.is_graph_output()):
                value.type = value.shape = None
    return clone


def inlined(tensor: ir.ExternalTensor) -> ir.LazyTensor:
    """The same tensor, read when the file is written."""
    return ir.LazyTensor(
        lambda: tensor, dtype=tensor.dtype, shape=tensor.shape, name=tensor.name, cache=False
    )


def field_size(length: int) -> int:
    """Bytes of a field that holds so many bytes: its tag, its length, and they."""
    return TAG + varint_size(length) + length


def varint_size(number: int) -> int:
    """Bytes of a number in base 128.

    >>> [varint_size(n) for n in (0, 127, 128, 16384)]
    [1, 1, 2, 3]
    """
    return max(1, -(-number.bit_length() // 7))


def tensor_size(value: ir.Value) -> int:
    """Bytes of one stored value as a TensorProto."""
    tensor = value.const_value
    assert tensor is not None
    if isinstance(tensor, ir.TensorProtoTensor):
        return int(tensor.raw.ByteSize())
    if tensor.dtype == ir.DataType.STRING:
        return int(ir.to_proto(tensor).ByteSize())
    shape, kind = tensor.shape.numpy(), int(tensor.dtype)
    head = onnx.TensorProto(name=str(value.name), data_type=kind, dims=shape)
    return int(head.ByteSize()) + field_size(tensor.nbytes)
