"""The exact size of a model's file, without computing its weights.

A file is a protobuf message: every field is a tag, a length where it has one, and its bytes, in
the order of their numbers. Everything except the stored values of the main graph is serialized;
those are counted from shape and type.
Source: the Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import onnx
import onnx_ir as ir

from packlight.model.map_types import restore_map_types
from packlight.model.model import graphs, release

TAG = 1
"""Bytes of the tag of every field that matters here: all have numbers below 16."""

GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER

NOTHING = ir.Tensor(np.zeros(0, np.uint8))
"""Placeholder for a stored value."""


@dataclass(frozen=True)
class Skeleton:
    """A model's file without the stored values of its main graph.

    Attributes:
        before: fields of the model before the graph.
        first: fields of the graph before the stored values.
        tensors: the stored values, under the names they have in the file.
        last: fields of the graph after them.
        after: fields of the model after the graph.
    """

    before: bytes
    first: bytes
    tensors: tuple[ir.TensorProtocol, ...]
    last: bytes
    after: bytes

    @cached_property
    def graph_size(self) -> int:
        """Bytes of the graph, stored values included."""
        stored = sum(field_size(tensor_size(tensor)) for tensor in self.tensors)
        return len(self.first) + stored + len(self.last)

    def operators(self) -> int:
        """Bytes of everything but stored values: operators, names, types, functions."""
        return len(self.before) + len(self.first) + len(self.last) + len(self.after)

    def size(self) -> int:
        """Bytes of the file, stored values included."""
        return len(self.before) + field_size(self.graph_size) + len(self.after)


def file_size(model: ir.Model) -> int:
    """Bytes of the model's file with its weights inside.

    Stored values of the main graph are not computed; those of subgraphs are.
    """
    proto = restore_map_types(ir.to_proto(_with_names_only(_self_contained(model))), model.graph)
    proto.graph.ClearField("initializer")
    stored = (_named_tensor(value) for value in model.graph.initializers.values())
    graph = proto.graph.ByteSize() + sum(field_size(tensor_size(tensor)) for tensor in stored)
    proto.ClearField("graph")
    size: int = proto.ByteSize() + field_size(graph)
    return size


def skeleton(model: ir.Model) -> Skeleton:
    """The model's file around the stored values of its main graph, which are not computed."""
    tensors = tuple(_named_tensor(value) for value in model.graph.initializers.values())
    proto = restore_map_types(ir.to_proto(_with_names_only(_self_contained(model))), model.graph)
    proto.graph.ClearField("initializer")
    first, last = _split_fields(proto.graph, INITIALIZER)
    proto.ClearField("graph")
    before, after = _split_fields(proto, GRAPH)
    return Skeleton(before, first, tensors, last, after)


def _named_tensor(value: ir.Value) -> ir.TensorProtocol:
    assert value.const_value is not None
    value.const_value.name = value.name
    return value.const_value


def _split_fields(message: onnx.GraphProto | onnx.ModelProto, number: int) -> tuple[bytes, bytes]:
    data: bytes = message.SerializeToString(deterministic=True)
    for field, _ in message.ListFields():
        if field.number > number:
            message.ClearField(field.name)
    size = message.ByteSize()
    return data[:size], data[size:]


def _self_contained(model: ir.Model) -> ir.Model:
    """A clone with the weights of subgraphs as written: inside the file, each type stated once.

    The model itself where subgraphs store nothing.
    """
    if not any(graph.initializers for graph in _inner_graphs(model)):
        return model
    clone = model.clone()
    for graph in _inner_graphs(clone):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _in_memory(value.const_value)
            if _is_plain(value):
                value.type = value.shape = None
    return clone


def _with_names_only(model: ir.Model) -> ir.Model:
    """A view of a model that has only the names of what its main graph stores."""
    graph = model.graph
    view = ir.GraphView(
        graph.inputs, graph.outputs, nodes=graph, name=graph.name, doc_string=graph.doc_string,
        initializers=[_emptied_value(v) for v in graph.initializers.values() if _has_own_entry(v)],
        opset_imports=graph.opset_imports, metadata_props=graph.metadata_props,
    )  # fmt: skip
    return ir.Model(
        cast("ir.Graph", view), ir_version=model.ir_version, producer_name=model.producer_name,
        producer_version=model.producer_version, domain=model.domain,
        model_version=model.model_version, doc_string=model.doc_string,
        functions=[*model.functions.values()], metadata_props=model.metadata_props,
        device_configurations=model.device_configurations,
    )  # fmt: skip


def _has_own_entry(value: ir.Value) -> bool:
    return bool(value.doc_string or value.meta) or not _is_plain(value)


def _emptied_value(value: ir.Value) -> ir.Value:
    """A stored value without its tensor, which states the type of a plain one."""
    copy = ir.Value(
        name=value.name, type=value.type, shape=value.shape, doc_string=value.doc_string,
        const_value=NOTHING, metadata_props=dict(value.metadata_props),
    )  # fmt: skip
    if _is_plain(value):
        copy.type = copy.shape = None
    copy.meta.update(value.meta)
    return copy


def _is_plain(value: ir.Value) -> bool:
    return not (value.metadata_props or value.is_graph_input() or value.is_graph_output())


def _inner_graphs(model: ir.Model) -> Iterator[ir.Graph]:
    return itertools.islice(graphs(model), 1, None)


def _in_memory(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    array = np.array(tensor.numpy())
    release(tensor)
    return ir.Tensor(array, dtype=tensor.dtype, name=tensor.name)


def field_size(length: int) -> int:
    """Bytes of a field: its tag, its length and ``length`` bytes of content."""
    return TAG + _varint_size(length) + length


def _varint_size(number: int) -> int:
    """Bytes of a number in base 128.

    >>> [_varint_size(n) for n in (0, 127, 128, 16384)]
    [1, 1, 2, 3]
    """
    return max(1, -(-number.bit_length() // 7))


def tensor_size(tensor: ir.TensorProtocol) -> int:
    """Bytes of one stored value as a TensorProto."""
    if isinstance(tensor, ir.TensorProtoTensor):
        return int(tensor.raw.ByteSize())
    if tensor.dtype == ir.DataType.STRING:
        return int(ir.to_proto(tensor).ByteSize())
    return int(head(tensor).ByteSize()) + field_size(tensor.nbytes)


def head(tensor: ir.TensorProtocol) -> onnx.TensorProto:
    """A TensorProto without its raw bytes."""
    dims = tensor.shape.numpy()
    return onnx.TensorProto(name=str(tensor.name), data_type=int(tensor.dtype), dims=dims)
