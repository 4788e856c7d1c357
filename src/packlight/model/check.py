"""Refuse an ONNX file that is damaged, hostile, or not supported, before it is used.

No file outside the model's folder is opened, and every size that the file states is compared with
the bytes that are there.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import TensorProto

from packlight.errors import ModelError
from packlight.model.attribute_values import check_attribute_values
from packlight.model.topological_order import attribute_graphs, sort_operators

OLDEST_OPSET = 7
"""The first opset that ONNX Runtime promises to compute."""

NEWEST_FORMAT = 13
"""The newest version of the format (IR version) that ONNX Runtime reads.
Source: onnxruntime/core/graph/model.cc of 1.31, which refuses newer ones."""

PROTO_LIMIT = 2**31 - 1
"""Protobuf cannot hold more bytes in one message."""

WIDTH: dict[int, int] = {
    TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4,
    TensorProto.INT2: 2, TensorProto.UINT2: 2,
}  # fmt: skip
"""Bits of one element of the types that are packed into bytes."""


def check_proto(proto: onnx.ModelProto, file: Path) -> None:
    """Check a model that was read from a file, and sort its operators.

    Raises:
        ModelError: it is damaged, hostile, or not supported.
    """
    _check_header(proto, file)
    check_names(proto, file)
    check_attribute_values(proto_operators(proto), file.name)
    _check_storage_kinds(proto, file)
    external = ExternalFiles(file)
    for tensor in tensors(proto):
        _check_tensor(tensor, external)
    sort_operators(proto.graph)
    _check_graph(proto, file)


def check_file(file: Path) -> None:
    """Refuse a path that is not a regular file of a size that protobuf can hold; read nothing.

    Raises:
        ModelError: it is missing, a folder, a device, empty or too large.
    """
    try:
        status = file.stat()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise ModelError(f"there is no file '{file}' ({cause})") from error
    if stat.S_ISDIR(status.st_mode):
        raise ModelError(f"'{file}' is a folder; name the .onnx file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"'{file}' is a device or a pipe; a model is a file")
    size = status.st_size
    if size == 0:
        raise ModelError(f"'{file.name}' is empty")
    if size > PROTO_LIMIT:
        raise ModelError(
            f"'{file.name}' has {size} bytes; an ONNX file holds at most 2 GB, the rest of the "
            "weights belongs in external data"
        )


def _check_header(proto: onnx.ModelProto, file: Path) -> None:
    """Refuse a file that parses by chance, and formats and opsets out of range."""
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"'{file.name}' holds no graph: it is not an ONNX model")
    if not proto.graph.output:
        raise ModelError(f"the graph of '{file.name}' must have an output; it has none")
    if proto.ir_version > NEWEST_FORMAT:
        raise ModelError(
            f"'{file.name}' is written in IR version {proto.ir_version}; ONNX Runtime reads "
            f"versions up to {NEWEST_FORMAT}. Export it with ir_version={NEWEST_FORMAT}"
        )
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    if "" not in opsets and opsets:
        _check_only_other_operators(proto, file, list(opsets))
        return
    version = opsets.get("", 0)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= version <= newest:
        raise ModelError(
            f"'{file.name}' needs opset {OLDEST_OPSET} to {newest}; it has {version}. "
            "Export it again with a newer opset, or convert it with onnx.version_converter"
        )


def _check_only_other_operators(proto: onnx.ModelProto, file: Path, domains: list[str]) -> None:
    """Refuse standard operators in a file that imports operators of other domains only."""
    standard = next((node for node in proto_operators(proto) if not node.domain), None)
    if standard is not None:
        raise ModelError(
            f"'{file.name}' imports the operators of {', '.join(domains)} only, and has "
            f"{standard.op_type} of the standard ones; export it again with their opset"
        )


def check_names(proto: onnx.ModelProto, file: Path) -> None:
    """Refuse operators with names that are not UTF-8; protobuf returns these as bytes."""
    for node in proto_operators(proto):
        for name in (node.name, node.op_type, node.domain, *node.input, *node.output):
            if isinstance(name, bytes):
                raise ModelError(f"names in a model are UTF-8; '{file.name}' has {name[:40]!r}")


def _check_storage_kinds(proto: onnx.ModelProto, file: Path) -> None:
    """Refuse sparse weights and external data of functions, which are not supported."""
    attributes = (attribute for node in proto_operators(proto) for attribute in node.attribute)
    bodies = subgraphs([node for scope in (proto.graph, *proto.functions) for node in scope.node])
    if any(graph.sparse_initializer for graph in (proto.graph, *bodies)) or any(
        attribute.HasField("sparse_tensor") or attribute.sparse_tensors for attribute in attributes
    ):
        raise ModelError(
            f"'{file.name}' has sparse weights, which are not supported; export them dense"
        )
    nodes = [node for function in proto.functions for node in function.node]
    if any(map(is_external, _node_tensors(nodes))):
        raise ModelError(
            f"a function of '{file.name}' has external data, which is not supported; inline the "
            "functions of the model (onnx.inliner)"
        )


def proto_operators(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every operator of the file, at any depth, those of functions included."""
    for scope in (proto.graph, *proto.functions):
        yield from scope.node
        for graph in subgraphs(scope.node):
            yield from graph.node


def tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the file: initializers and attributes, at any depth."""
    yield from proto.graph.initializer
    yield from _node_tensors(proto.graph.node)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _node_tensors(nodes: Sequence[onnx.NodeProto]) -> Iterator[TensorProto]:
    """Tensors in the attributes of operators, and in the graphs there."""
    bodies = list(subgraphs(nodes))
    for graph in bodies:
        yield from graph.initializer
    for node in (*nodes, *(node for graph in bodies for node in graph.node)):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def subgraphs(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    """Graphs in the attributes of operators, at any depth."""
    for node in nodes:
        for attribute in node.attribute:
            for graph in attribute_graphs(attribute):
                yield graph
                yield from subgraphs(graph.node)


def _check_tensor(tensor: TensorProto, external: ExternalFiles) -> None:
    """Compare the size that a tensor states with the bytes that are there."""
    where = f"tensor '{tensor.name}' of '{external.file.name}'"
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{where} has a negative dimension: {list(tensor.dims)}")
    if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
        raise ModelError(f"{where} has data type {tensor.data_type}, which ONNX does not know")
    count = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        if count != len(tensor.string_data):
            raise ModelError(f"{where} needs {count} texts; the file holds no such number of them")
    elif is_external(tensor):
        _check_external(tensor, stored_bytes(tensor, count), external, where)
    elif tensor.raw_data or not _has_typed_data(tensor):
        if len(tensor.raw_data) != stored_bytes(tensor, count):
            raise ModelError(
                f"{where} has shape {list(tensor.dims)}, so {stored_bytes(tensor, count)} bytes; "
                f"the file holds {len(tensor.raw_data)}"
            )
    elif count > len(tensor.SerializeToString()) * 8:
        raise ModelError(f"{where} has shape {list(tensor.dims)}, more than the file holds")


def stored_bytes(tensor: TensorProto, count: int) -> int:
    """Bytes of ``count`` elements of the tensor's type."""
    packed = WIDTH.get(tensor.data_type)
    if packed:
        return -(-count * packed // 8)
    width: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return count * width


def _has_typed_data(tensor: TensorProto) -> bool:
    return bool(
        tensor.float_data or tensor.int32_data or tensor.int64_data
        or tensor.double_data or tensor.uint64_data
    )  # fmt: skip


COPY = "copy the model and its data to a new folder, as with cp -rL"
"""Remedy where files are links."""


def _has_link(folder: Path, location: str) -> bool:
    inside = folder / location
    return any((folder / part).is_symlink() for part in (inside, *inside.parents))


@dataclass(frozen=True, slots=True)
class ExternalFiles:
    """The files of a model's external data; the file system is asked once for each.

    Attributes:
        file: of the model.
        sizes: bytes by path, as far as asked for; None where there is no file.
    """

    file: Path
    sizes: dict[str, int | None] = field(default_factory=dict)

    def size(self, location: str, where: str) -> int | None:
        """Bytes of a file, or None where there is none.

        Args:
            location: path as a tensor states it.
            where: the tensor.

        Raises:
            ModelError: it is outside the model's folder, or cannot be a file's.
        """
        if location not in self.sizes:
            self.sizes[location] = self.read_size(location, where)
        return self.sizes[location]

    def read_size(self, location: str, where: str) -> int | None:
        """Ask the file system for the size of a file; errors are those of ``size``."""
        folder = self.file.parent.resolve()
        try:
            target = (folder / location).resolve()
            status = target.stat() if target.is_file() else None
        except (OSError, ValueError, RuntimeError) as error:  # the last for a loop of links
            raise ModelError(
                f"{where} names external data that cannot be a file: {error}"
            ) from error
        linked = target != (folder / location) and _has_link(folder, location)
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            link, remedy = (f"a link to '{target}', ", f"; {COPY}") if linked else ("", "")
            raise ModelError(
                f"{where} names external data '{location}', {link}outside the model's folder; it "
                f"is not read{remedy}"
            )
        if status is None:
            if linked:
                raise ModelError(
                    f"{where} needs the file '{location}' beside the model; it is a link to "
                    f"'{target}', which is missing"
                )
            return None
        if status.st_nlink > 1:
            raise ModelError(
                f"{where} names external data '{location}', a file with {status.st_nlink} hard "
                f"links, which other programs may change; it is not read; {COPY}"
            )
        return status.st_size


def _check_external(tensor: TensorProto, size: int, external: ExternalFiles, where: str) -> None:
    """Refuse external data outside the model's folder, missing, or of another size."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file_size = external.size(location, where)
    if file_size is None:
        link = ""
        if external.file.is_symlink():
            name = external.file.name
            link = f", for '{name}' is a link; give the path of the file that it leads to"
        raise ModelError(
            f"{where} needs the file '{location}' beside the model; it is missing" + link
        )
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size)))
    except ValueError as error:
        raise ModelError(f"{where} has external data with an offset that is no number") from error
    if length != size or offset < 0 or offset + length > file_size:
        raise ModelError(
            f"{where} needs {size} bytes at {offset} of '{location}'; "
            f"the file has {file_size} and the model states {length}"
        )


def _check_graph(proto: onnx.ModelProto, file: Path) -> None:
    try:
        onnx.checker.check_model(_checkable(proto))
    except (onnx.checker.ValidationError, ValueError, RuntimeError, IndexError) as error:
        raise ModelError(f"'{file.name}' is not a valid ONNX model: {root_cause(error)}") from error


def _checkable(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Fill in what the checker demands and ONNX Runtime does not.

    The checker demands a shape of every input and output and a type of every output, but does not
    compare them with anything. It also opens external data, which was checked before.
    """
    ends = (*proto.graph.input, *proto.graph.output)
    if all(is_complete(end) for end in ends) and not any(map(is_external, tensors(proto))):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for end in copy.graph.output:
        if not end.HasField("type"):
            end.type.tensor_type.elem_type = TensorProto.FLOAT
    for end in (*copy.graph.input, *copy.graph.output):
        if not is_complete(end):
            end.type.tensor_type.shape.SetInParent()
    for tensor in filter(is_external, tensors(copy)):
        for name in ("data_location", "external_data"):
            tensor.ClearField(name)
        tensor.dims[:] = [0]
    return copy


def is_complete(end: onnx.ValueInfoProto) -> bool:
    """Test whether an input or output states all that the checker demands of it."""
    kind = end.type.WhichOneof("value")
    if kind == "tensor_type":
        return bool(end.type.tensor_type.HasField("shape"))
    return kind is not None


def is_external(tensor: TensorProto) -> bool:
    """Test whether a tensor's bytes lie in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def root_cause(error: BaseException) -> str:
    """Message of the first error in a chain, in one line of at most 300 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
