"""Read an ONNX file into a Model, or say in one sentence why it cannot be used.

Everything here treats the file as hostile: nothing outside its folder is opened, and no size that
the file states is believed before it is compared with the bytes that are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx import TensorProto

from packlight.errors import ModelError
from packlight.model.model import Model, graphs, name_operators, nodes

OLDEST_OPSET = 7
"""The first opset that ONNX Runtime promises to compute."""

SEPARATE = 4
"""The first version of the format in which a stored value need not be an input as well."""

PROTO_LIMIT = 2**31 - 1
"""Protobuf cannot hold more bytes in one message."""

WIDTH: dict[int, int] = {
    TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4,
    TensorProto.INT2: 2, TensorProto.UINT2: 2,
}  # fmt: skip
"""Bits of one element of the types that are packed into bytes."""


def load(path: str | Path) -> Model:
    """Read a model; weights in external data stay on disk until they are used.

    Args:
        path: an ONNX file; its external data must lie in the same folder or below.

    Returns:
        The model, with every operator named, and every name used once.

    Raises:
        ModelError: the file is missing, damaged, hostile, or needs operators of an opset that is
            not supported.
    """
    file = Path(path)
    check_file(file)
    try:
        proto = onnx.load(str(file), load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"'{file.name}' is not an ONNX model, or it is cut short") from error
    check_header(proto, file)
    for tensor in tensors(proto):
        check_tensor(tensor, file)
    check_graph(proto, file)
    graph = read_graph(proto, file)
    name_operators(graph)
    return Model(graph, file.stem)


def check_file(file: Path) -> None:
    """Refuse what is not a readable file of a size that protobuf can hold."""
    if file.is_dir():
        raise ModelError(f"'{file}' is a folder; name the .onnx file in it")
    if not file.is_file():
        raise ModelError(f"there is no file '{file}'")
    size = file.stat().st_size
    if size == 0:
        raise ModelError(f"'{file.name}' is empty")
    if size > PROTO_LIMIT:
        raise ModelError(
            f"'{file.name}' has {size} bytes; an ONNX file holds at most 2 GB, the rest of the "
            "weights belongs in external data"
        )


def check_header(proto: onnx.ModelProto, file: Path) -> None:
    """Refuse a file that parses by chance, and opsets out of range."""
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"'{file.name}' holds no graph: it is not an ONNX model")
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    version = opsets.get("", opsets.get("ai.onnx", 0))
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= version <= newest:
        raise ModelError(
            f"'{file.name}' needs opset {OLDEST_OPSET} to {newest}; it has {version}. "
            "Export it again with a newer opset, or convert it with onnx.version_converter"
        )


def tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the file: initializers and attributes, at any depth."""
    yield from graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from node_tensors(node)


def graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Tensors of a graph and of its subgraphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from node_tensors(node)


def node_tensors(node: onnx.NodeProto) -> Iterator[TensorProto]:
    """Tensors in the attributes of an operator."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from graph_tensors(graph)


def check_tensor(tensor: TensorProto, file: Path) -> None:
    """Compare the size that a tensor states with the bytes that are there."""
    where = f"tensor '{tensor.name}' of '{file.name}'"
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{where} has a negative dimension: {list(tensor.dims)}")
    if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
        raise ModelError(f"{where} has data type {tensor.data_type}, which ONNX does not know")
    if tensor.data_type == TensorProto.STRING:
        return
    count = math.prod(tensor.dims)
    if tensor.data_location == TensorProto.EXTERNAL:
        check_external(tensor, stored_bytes(tensor, count), file, where)
    elif tensor.raw_data or not any_typed_data(tensor):
        if len(tensor.raw_data) != stored_bytes(tensor, count):
            raise ModelError(
                f"{where} has shape {list(tensor.dims)}, so {stored_bytes(tensor, count)} bytes; "
                f"the file holds {len(tensor.raw_data)}"
            )
    elif count > len(tensor.SerializeToString()) * 8:
        raise ModelError(f"{where} has shape {list(tensor.dims)}, more than the file holds")


def stored_bytes(tensor: TensorProto, count: int) -> int:
    """Bytes of so many elements of the tensor's type."""
    packed = WIDTH.get(tensor.data_type)
    if packed:
        return -(-count * packed // 8)
    width: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return count * width


def any_typed_data(tensor: TensorProto) -> bool:
    """Whether values are stored one by one instead of as raw bytes."""
    return bool(
        tensor.float_data or tensor.int32_data or tensor.int64_data
        or tensor.double_data or tensor.uint64_data
    )  # fmt: skip


def check_external(tensor: TensorProto, size: int, file: Path, where: str) -> None:
    """Refuse external data outside the model's folder, missing, or of another size."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = file.parent.resolve()
    target = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
        raise ModelError(
            f"{where} names external data '{location}', outside the model's folder; it is not read"
        )
    if not target.is_file():
        raise ModelError(f"{where} needs the file '{location}' beside the model; it is missing")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
    except ValueError as error:
        raise ModelError(f"{where} has external data with an offset that is no number") from error
    if length != size or offset < 0 or offset + length > target.stat().st_size:
        raise ModelError(
            f"{where} needs {size} bytes at {offset} of '{location}'; "
            f"the file has {target.stat().st_size} and the model states {length}"
        )


def check_graph(proto: onnx.ModelProto, file: Path) -> None:
    """Check operators, their attributes and the order of the graph against the ONNX standard."""
    external = any(t.data_location == TensorProto.EXTERNAL for t in tensors(proto))
    try:
        onnx.checker.check_model(str(file) if external else proto)
    except (onnx.checker.ValidationError, ValueError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"'{file.name}' is not a valid ONNX model: {reason}") from error


def read_graph(proto: onnx.ModelProto, file: Path) -> ir.Model:
    """The graph, with external data left where it is."""
    try:
        graph = ir.from_proto(proto)
    except Exception as error:  # onnx-ir raises many types on damaged protos; all mean the same
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"'{file.name}' cannot be read as a graph: {reason}") from error
    for inner in graphs(graph):
        ir.external_data.set_base_dir(inner, file.parent)
    take_in_constants(graph)
    if graph.ir_version < SEPARATE:
        take_out_defaults(graph)
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
                    tensor.release()


def take_out_defaults(graph: ir.Model) -> None:
    """Let stored values no longer count as inputs, which old files have to list them as."""
    for value in list(graph.graph.inputs):
        if value.name in graph.graph.initializers:
            graph.graph.inputs.remove(value)
    graph.ir_version = SEPARATE
