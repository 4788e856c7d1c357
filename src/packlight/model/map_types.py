"""Types that hold maps, as those of ZipMap: onnx-ir reads none, so a value keeps its own aside."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx_ir as ir

MAP_TYPE = "packlight.map_type"
"""Key in the ``meta`` of an input or output that holds its type as protobuf bytes."""


def has_map(kind: onnx.TypeProto) -> bool:
    """Test whether a type is a map, or a sequence or an optional of one."""
    name = kind.WhichOneof("value")
    if name in ("sequence_type", "optional_type"):
        return has_map(getattr(kind, name).elem_type)
    return bool(name == "map_type")


def take_map_types(graph: onnx.GraphProto) -> dict[str, bytes]:
    """Remove types with maps from a graph, in place; those of inputs and outputs by name."""
    kept = [info for info in graph.value_info if not has_map(info.type)]
    if len(kept) < len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(kept)
    types = {}
    for info in (*graph.input, *graph.output):
        if has_map(info.type):
            types[info.name] = info.type.SerializeToString(deterministic=True)
            info.ClearField("type")
    return types


def keep_map_types(values: Iterable[ir.Value], types: dict[str, bytes]) -> None:
    """Keep the types of a graph's inputs and outputs in their ``meta``."""
    for value in values:
        if value.name in types:
            value.meta[MAP_TYPE] = types[str(value.name)]


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
