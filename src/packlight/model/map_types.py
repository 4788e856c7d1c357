"""Types that hold maps, as those of ZipMap: onnx-ir reads none, so a value keeps its own aside."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from packlight.model.check import subgraphs

MAP_TYPE = "packlight.map_type"
"""Key in the ``meta`` of a value that holds its type as protobuf bytes."""


def has_map(kind: onnx.TypeProto) -> bool:
    """Test whether a type is a map, or a sequence or an optional of one."""
    name = kind.WhichOneof("value")
    if name in ("sequence_type", "optional_type"):
        return has_map(getattr(kind, name).elem_type)
    return bool(name == "map_type")


def take_map_types(graph: onnx.GraphProto) -> dict[str, bytes]:
    """Remove types with maps from a graph, in place, and return them by name."""
    types = {}
    for info in (*graph.input, *graph.output, *graph.value_info):
        if has_map(info.type):
            types[info.name] = info.type.SerializeToString(deterministic=True)
            info.ClearField("type")
    kept = [info for info in graph.value_info if info.name not in types]
    if len(kept) < len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(kept)
    return types


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """Read a model; types with maps are removed in place, and kept in the ``meta`` of values."""
    types = take_map_types(proto.graph)
    for body in subgraphs(proto.graph.node):
        take_map_types(body)
    model: ir.Model = ir.from_proto(proto)
    if types:
        computed = (value for node in model.graph for value in node.outputs)
        for value in (*model.graph.inputs, *model.graph.outputs, *computed):
            if value.name in types:
                value.meta[MAP_TYPE] = types[str(value.name)]
    return model


def may_be_tensor(value: ir.Value) -> bool:
    """Test whether a value is a tensor, as far as its type is known."""
    return isinstance(value.type, ir.TensorType | None) and MAP_TYPE not in value.meta


def with_types(model: ir.Model) -> onnx.ModelProto:
    """The model as a message, with the types of all inputs and outputs."""
    return restore_map_types(ir.to_proto(model), model.graph)


def restore_map_types(proto: onnx.ModelProto, graph: ir.Graph) -> onnx.ModelProto:
    """State the types that were kept aside in a model to be written, in place."""
    pairs = [
        *zip(proto.graph.input, graph.inputs, strict=True),
        *zip(proto.graph.output, graph.outputs, strict=True),
    ]
    for info, value in pairs:
        if MAP_TYPE in value.meta:
            info.type.ParseFromString(value.meta[MAP_TYPE])
    return proto
