"""Read an ONNX file into a Model, or say in one sentence why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from packlight.errors import ModelError
from packlight.model.check import check_file, check_proto, operators, reason
from packlight.model.external_data import take_in_small
from packlight.model.model import Model, graphs, name_operators, name_values, nodes, release

ALIAS = "ai.onnx"
"""Another name of the standard operators, whose name is empty."""

SEPARATE = 4
"""The first version of the format in which a stored value need not be an input as well."""


def load(path: str | Path) -> Model:
    """Read a model; large weights in external data stay on disk until they are used.

    Args:
        path: an ONNX file; its external data must lie in the same folder or below.

    Returns:
        The model, with every operator named, and every name of operators and of values used once.

    Raises:
        ModelError: the file is missing, damaged, hostile, or needs operators of an opset that is
            not supported.
    """
    file = Path(path)
    check_file(file)
    try:
        proto = onnx.load_from_string(file.read_bytes())
    except OSError as error:
        raise ModelError(f"'{file}' cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ModelError(f"'{file.name}' is not an ONNX model, or it is damaged") from error
    rename_alias(proto)
    check_proto(proto, file)
    take_in_small(proto, file)
    graph = read_graph(proto, file)
    name_operators(graph)
    name_values(graph)
    return Model(graph, file.stem)


def rename_alias(proto: onnx.ModelProto) -> None:
    """Let the standard operators have one name, where files may write two."""
    for scope in (proto, *proto.functions):
        named = {entry.domain: entry for entry in scope.opset_import}
        if ALIAS in named and "" in named:
            scope.opset_import.remove(named[ALIAS])
        elif ALIAS in named:
            named[ALIAS].domain = ""
    for part in (*proto.functions, *operators(proto)):
        if part.domain == ALIAS:
            part.domain = ""


def read_graph(proto: onnx.ModelProto, file: Path) -> ir.Model:
    """The graph, with external data left where it is."""
    try:
        graph = ir.from_proto(proto)
    except Exception as error:  # onnx-ir raises many types on damaged protos; all mean the same
        raise ModelError(f"'{file.name}' cannot be read as a graph: {reason(error)}") from error
    for inner in graphs(graph):
        ir.external_data.set_base_dir(inner, file.parent)
    take_in_constants(graph)
    if graph.ir_version < SEPARATE:
        take_out_defaults(graph)
    for value in shaped(graph):
        value.shape = opened(value.shape)
    return graph


def take_in_constants(graph: ir.Model) -> None:
    """Read tensors in attributes: only initializers are looked for outside the file later."""
    for node in nodes(graph):
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.TENSOR:
                tensor = attribute.as_tensor()
                if isinstance(tensor, ir.ExternalTensor):
                    inner = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                    node.attributes[name] = ir.AttrTensor(name, inner)
                    release(tensor)


def take_out_defaults(graph: ir.Model) -> None:
    """Let stored values no longer count as inputs, which old files have to list them as."""
    for value in list(graph.graph.inputs):
        if value.name in graph.graph.initializers:
            graph.graph.inputs.remove(value)
    graph.ir_version = SEPARATE


def shaped(model: ir.Model) -> Iterator[ir.Value]:
    """Every value with a shape, stored ones apart, whose shape is that of the tensor."""
    for graph in graphs(model):
        given = (value for node in graph for value in node.outputs)
        yield from (value for value in (*graph.inputs, *given) if value.shape is not None)


def opened(shape: ir.Shape | None) -> ir.Shape | None:
    """A shape in which sizes below 0 are open, as old exporters and ONNX Runtime have it."""
    if shape is None or not any(isinstance(size, int) and size < 0 for size in shape):
        return shape
    return ir.Shape(None if isinstance(size, int) and size < 0 else size for size in shape)
