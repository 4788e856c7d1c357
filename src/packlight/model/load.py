"""Read an ONNX file into a Model, or refuse it in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from packlight.errors import ModelError
from packlight.model.check import check_file, check_proto, proto_operators, root_cause
from packlight.model.external_data import inline_small_tensors
from packlight.model.map_types import from_proto
from packlight.model.model import Model, graphs, name_operators, name_values, nodes, release

ALIAS = "ai.onnx"
"""Another name of the standard operators, whose name is empty."""

SEPARATE_INPUTS_IR = 4
"""The first IR version in which a stored value need not be an input as well."""


def load(path: str | Path) -> Model:
    """Read a model; large weights in external data stay on disk until they are used.

    Args:
        path: an ONNX file; its external data must lie in the same folder or below.

    Returns:
        The model, with unique names of operators and values.

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
    _rename_alias(proto)
    check_proto(proto, file)
    inline_small_tensors(proto, file)
    graph = _read_graph(proto, file)
    name_operators(graph)
    name_values(graph)
    return Model(graph, file.stem)


def _rename_alias(proto: onnx.ModelProto) -> None:
    """Replace the alias of the standard operators' domain by its usual, empty name."""
    for scope in (proto, *proto.functions):
        named = {entry.domain: entry for entry in scope.opset_import}
        if ALIAS in named and "" in named:
            scope.opset_import.remove(named[ALIAS])
        elif ALIAS in named:
            named[ALIAS].domain = ""
    for part in (*proto.functions, *proto_operators(proto)):
        if part.domain == ALIAS:
            part.domain = ""


def _read_graph(proto: onnx.ModelProto, file: Path) -> ir.Model:
    """Read the graph; large external data stays on disk."""
    try:
        graph = from_proto(proto)
    except Exception as error:  # onnx-ir raises many types on damaged protos; all mean the same
        raise ModelError(f"'{file.name}' cannot be read as a graph: {root_cause(error)}") from error
    for inner in graphs(graph):
        ir.external_data.set_base_dir(inner, file.parent)
    _inline_constants(graph)
    if graph.ir_version < SEPARATE_INPUTS_IR:
        _remove_stored_inputs(graph)
    for value in _values_with_shape(graph):
        value.shape = _open_negative_dims(value.shape)
    return graph


def _inline_constants(graph: ir.Model) -> None:
    """Read external tensors in attributes: later code reads external initializers only."""
    for node in nodes(graph):
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.TENSOR:
                tensor = attribute.as_tensor()
                if isinstance(tensor, ir.ExternalTensor):
                    inner = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                    node.attributes[name] = ir.AttrTensor(name, inner)
                    release(tensor)


def _remove_stored_inputs(graph: ir.Model) -> None:
    for value in list(graph.graph.inputs):
        if value.name in graph.graph.initializers:
            graph.graph.inputs.remove(value)
    graph.ir_version = SEPARATE_INPUTS_IR


def _values_with_shape(model: ir.Model) -> Iterator[ir.Value]:
    for graph in graphs(model):
        outputs = (value for node in graph for value in node.outputs)
        yield from (value for value in (*graph.inputs, *outputs) if value.shape is not None)


def _open_negative_dims(shape: ir.Shape | None) -> ir.Shape | None:
    if shape is None or not any(_is_negative(size) for size in shape):
        return shape
    return ir.Shape(None if _is_negative(size) else size for size in shape)


def _is_negative(size: int | ir.SymbolicDim) -> bool:
    return isinstance(size, int) and size < 0
