"""Refuse an ONNX file that is damaged, hostile, or not supported, before anything rests on it.

Nothing outside the file's folder is opened, and no size that the file states is believed before
it is compared with the bytes that are there.
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
from packlight.model.topological_order import put_in_order

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
    """Check a model that was read from a file; its operators are put in order.

    Raises:
        ModelError: it is damaged, hostile, or not supported.
    """
    check_header(proto, file)
    check_names(proto, file)
    check_kinds(proto, file)
    beside = Beside(file)
    for tensor in tensors(proto):
        check_tensor(tensor, beside)
    put_in_order(proto.graph)
    check_graph(proto, file)


def check_file(file: Path) -> None:
    """Refuse what is not a file of a size that protobuf can hold.

    Raises:
        ModelError: it is none; nothing is read to find out.
    """
    try:
        found = file.stat()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise ModelError(f"there is no file '{file}' ({said})") from error
    if stat.S_ISDIR(found.st_mode):
        raise ModelError(f"'{file}' is a folder; name the .onnx file in it")
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"'{file}' is a device or a pipe; a model is a file")
    size = found.st_size
    if size == 0:
        raise ModelError(f"'{file.name}' is empty")
    if size > PROTO_LIMIT:
        raise ModelError(
            f"'{file.name}' has {size} bytes; an ONNX file holds at most 2 GB, the rest of the "
            "weights belongs in external data"
        )


def check_header(proto: onnx.ModelProto, file: Path) -> None:
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
    version = opsets.get("", 0)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= version <= newest:
        raise ModelError(
            f"'{file.name}' needs opset {OLDEST_OPSET} to {newest}; it has {version}. "
            "Export it again with a newer opset, or convert it with onnx.version_converter"
        )


def check_names(proto: onnx.ModelProto, file: Path) -> None:
    """Refuse operators with names that are no text; protobuf gives these as bytes."""
    for node in operators(proto):
        for name in (node.name, node.op_type, node.domain, *node.input, *node.output):
            if isinstance(name, bytes):
                raise ModelError(f"names in a model are UTF-8; '{file.name}' has {name[:40]!r}")


def check_kinds(proto: onnx.ModelProto, file: Path) -> None:
    """Refuse kinds of weights that are not read here, so that none is lost without a word."""
    attributes = (attribute for node in operators(proto) for attribute in node.attribute)
    bodies = subgraphs([node for scope in (proto.graph, *proto.functions) for node in scope.node])
    if any(graph.sparse_initializer for graph in (proto.graph, *bodies)) or any(
        attribute.HasField("sparse_tensor") or attribute.sparse_tensors for attribute in attributes
    ):
        raise ModelError(
            f"'{file.name}' has sparse weights, which are not supported; export them dense"
        )
    own = (tensor for function in proto.functions for tensor in node_tensors(function.node))
    if any(map(is_external, own)):
        raise ModelError(
            f"a function of '{file.name}' has external data, which is not supported; inline the "
            "functions of the model (onnx.inliner)"
        )


def operators(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every operator of the file, at any depth, those of functions included."""
    for scope in (proto.graph, *proto.functions):
        yield from scope.node
        for graph in subgraphs(scope.node):
            yield from graph.node


def tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the file: initializers and attributes, at any depth."""
    yield from proto.graph.initializer
    yield from node_tensors(proto.graph.node)
    for function in proto.functions:
        yield from node_tensors(function.node)


def node_tensors(nodes: Sequence[onnx.NodeProto]) -> Iterator[TensorProto]:
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
    """Graphs in the attributes of operators, and those in them."""
    for node in nodes:
        for attribute in node.attribute:
            own = [attribute.g] if attribute.HasField("g") else []
            for graph in (*own, *attribute.graphs):
                yield graph
                yield from subgraphs(graph.node)


def check_tensor(tensor: TensorProto, beside: Beside) -> None:
    """Compare the size that a tensor states with the bytes that are there."""
    where = f"tensor '{tensor.name}' of '{beside.file.name}'"
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{where} has a negative dimension: {list(tensor.dims)}")
    if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
        raise ModelError(f"{where} has data type {tensor.data_type}, which ONNX does not know")
    count = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        if count != len(tensor.string_data):
            raise ModelError(f"{where} needs {count} texts; the file holds no such number of them")
    elif is_external(tensor):
        check_external(tensor, stored_bytes(tensor, count), beside, where)
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


COPY = "copy the model and its data to a folder of their own, as with cp -rL"
"""What helps where files are links."""


def has_link(folder: Path, location: str) -> bool:
    """Whether a path in a folder passes through a symbolic link."""
    inside = folder / location
    return any((folder / part).is_symlink() for part in (inside, *inside.parents))


@dataclass(frozen=True, slots=True)
class Beside:
    """The files that hold a model's external data, each looked at once.

    Attributes:
        file: of the model.
        sizes: bytes of those looked at, by path; None where there is no file.
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
            self.sizes[location] = self.looked_at(location, where)
        return self.sizes[location]

    def looked_at(self, location: str, where: str) -> int | None:
        """As ``size``, of a file that was not looked at before."""
        folder = self.file.parent.resolve()
        try:
            target = (folder / location).resolve()
            found = target.stat() if target.is_file() else None
        except (OSError, ValueError, RuntimeError) as error:  # the last where links go round
            raise ModelError(
                f"{where} names external data that cannot be a file: {error}"
            ) from error
        linked = target != (folder / location) and has_link(folder, location)
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise ModelError(
                f"{where} names external data '{location}', "
                + (f"a link to '{target}', " if linked else "")
                + "outside the model's folder; it is not read"
                + (f"; {COPY}" if linked else "")
            )
        if found is None and linked:
            raise ModelError(
                f"{where} needs the file '{location}' beside the model; it is a link to "
                f"'{target}', which is missing"
            )
        if found is not None and found.st_nlink > 1:
            raise ModelError(
                f"{where} needs external data in a file of one name; '{location}' has "
                f"{found.st_nlink} (hard links), so that others may change it, and is not read; "
                f"{COPY}"
            )
        return None if found is None else found.st_size


def check_external(tensor: TensorProto, size: int, beside: Beside, where: str) -> None:
    """Refuse external data outside the model's folder, missing, or of another size."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    there = beside.size(location, where)
    if there is None:
        link = f", for '{beside.file.name}' is a link; give the path of the file that it leads to"
        raise ModelError(
            f"{where} needs the file '{location}' beside the model; it is missing"
            + (link if beside.file.is_symlink() else "")
        )
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
    except ValueError as error:
        raise ModelError(f"{where} has external data with an offset that is no number") from error
    if length != size or offset < 0 or offset + length > there:
        raise ModelError(
            f"{where} needs {size} bytes at {offset} of '{location}'; "
            f"the file has {there} and the model states {length}"
        )


def check_graph(proto: onnx.ModelProto, file: Path) -> None:
    """Check operators, their attributes and the order of the graph against the ONNX standard."""
    try:
        onnx.checker.check_model(checkable(proto))
    except (onnx.checker.ValidationError, ValueError, RuntimeError, IndexError) as error:
        raise ModelError(f"'{file.name}' is not a valid ONNX model: {reason(error)}") from error


def checkable(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the checker takes it, where ONNX Runtime takes more.

    The checker demands a shape of every input and output, and a type of every output; whether
    they are stated, it does not compare them with anything. It also looks for external data by
    itself; that was checked before.
    """
    ends = (*proto.graph.input, *proto.graph.output)
    if all(whole(end) for end in ends) and not any(map(is_external, tensors(proto))):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for end in copy.graph.output:
        if not end.HasField("type"):
            end.type.tensor_type.elem_type = TensorProto.FLOAT
    for end in (*copy.graph.input, *copy.graph.output):
        if not whole(end):
            end.type.tensor_type.shape.SetInParent()
    for tensor in filter(is_external, tensors(copy)):
        for name in ("data_location", "external_data"):
            tensor.ClearField(name)
        tensor.dims[:] = [0]
    return copy


def whole(end: onnx.ValueInfoProto) -> bool:
    """Whether an input or output states all that the checker demands of a tensor."""
    kind = end.type.WhichOneof("value")
    return end.type.tensor_type.HasField("shape") if kind == "tensor_type" else kind is not None


def is_external(tensor: TensorProto) -> bool:
    """Whether a tensor's bytes lie in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def reason(error: BaseException) -> str:
    """What went wrong at first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
