"""Write a model, one stored value at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnx_ir as ir

from packlight.errors import InputError
from packlight.model.model import Model, content, initializers
from packlight.model.size import GRAPH, INITIALIZER, Skeleton, head, skeleton, tensor_size

INLINE_LIMIT = 2**31 - 2**20
"""Files above this keep their weights beside them: protobuf stops at 2 GB."""

OUTSIDE = 1024
"""Bytes above which a stored value lies beside the graph in a model of two files."""

DRAFT = ".packlight-"
"""How the folder's name begins that holds a file in the making; short, whatever the file's is."""

BASE = 128
LENGTH = 2
"""How protobuf marks a field that states its length."""


def save(model: Model, path: str | Path) -> int:
    """Write a model; weights go into ``NAME.data`` beside it where one file cannot hold them.

    The file appears whole or not at all. Weights that are computed when they are written are there
    one at a time.

    Returns:
        Bytes written, external data included.

    Raises:
        InputError: at the path is a folder, a device or a pipe.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise InputError(f"a model is written to a file; '{target}' is something else")
    found = skeleton(model.graph)
    with TemporaryDirectory(prefix=DRAFT, dir=target.parent) as folder:
        draft = Path(folder) / target.name
        if found.size() > INLINE_LIMIT:
            write_two(model, draft)
        else:
            write(found, draft)
        return moved(draft, target)


def moved(draft: Path, target: Path) -> int:
    """Put a model's files where they belong, the graph last; their bytes."""
    files = sorted(draft.parent.iterdir(), key=lambda file: file == draft)
    size = sum(file.stat().st_size for file in files)
    for file in files:
        file.replace(target.with_name(file.name))
    return size


def write(found: Skeleton, path: Path) -> None:
    """Write one file."""
    with path.open("wb") as file:
        for piece in pieces(found):
            file.write(piece)


def to_bytes(model: Model) -> bytes:
    """The file's content, weights inside; the same model gives the same bytes."""
    return b"".join(pieces(skeleton(model.graph)))


def pieces(found: Skeleton) -> Iterator[bytes]:
    """The file's content in order; each stored value is computed when it is its turn."""
    yield found.before
    yield prefix(GRAPH, found.graph_size)
    yield found.first
    for tensor in found.tensors:
        yield prefix(INITIALIZER, tensor_size(tensor))
        yield from tensor_pieces(tensor)
    yield found.last
    yield found.after


def tensor_pieces(tensor: ir.TensorProtocol) -> Iterator[bytes]:
    """One stored value as a TensorProto: what it says, then its bytes."""
    if isinstance(tensor, ir.TensorProtoTensor):
        yield tensor.raw.SerializeToString(deterministic=True)
    elif tensor.dtype == ir.DataType.STRING:
        yield ir.to_proto(tensor).SerializeToString(deterministic=True)
    else:
        yield head(tensor).SerializeToString(deterministic=True)
        yield prefix(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, tensor.nbytes)
        yield content(tensor)


def prefix(field: int, length: int) -> bytes:
    """What stands before the bytes of a field: its number, and how many they are."""
    return varint(field << 3 | LENGTH) + varint(length)


def varint(number: int) -> bytes:
    """A number in base 128, low digits first, a bit on all digits but the last.

    >>> varint(300).hex()
    'ac02'
    """
    high, low = divmod(number, BASE)
    return bytes([BASE | low]) + varint(high) if high else bytes([low])


def write_two(model: Model, path: Path) -> None:
    """Write weights and graph as two files."""
    graph = model.graph.clone()
    location = f"{path.name}.data"
    with path.with_name(location).open("wb") as file:
        for value in initializers(graph):
            tensor = value.const_value
            assert tensor is not None
            if tensor.dtype != ir.DataType.STRING and tensor.nbytes > OUTSIDE:
                offset = file.tell()
                file.write(content(tensor))
                value.const_value = ir.ExternalTensor(
                    location, offset, tensor.nbytes, tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()), name=str(value.name),
                    base_dir=path.parent,
                )  # fmt: skip
    path.write_bytes(ir.to_proto(graph).SerializeToString(deterministic=True))
