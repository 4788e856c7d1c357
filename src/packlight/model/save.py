"""Write a model, one stored value at a time: complete or not at all, never over its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import onnx
import onnx_ir as ir

from packlight.disk import check_output_path, folder_beside
from packlight.errors import InputError
from packlight.model.map_types import with_types
from packlight.model.model import Model, content, initializers
from packlight.model.size import GRAPH, INITIALIZER, Skeleton, head, skeleton, tensor_size
from packlight.records.export import FormatName

INLINE_LIMIT = 2**31 - 2**20
"""Bytes above which weights go into external data: protobuf stops at 2 GB."""

EXTERNAL_ABOVE = 1024
"""Bytes above which a stored value of such a model goes into external data."""

BASE = 128
LENGTH = 2
"""Protobuf's wire type of a field that states its length."""


def save(model: Model, path: str | Path, check: Callable[[Path], object] | None = None) -> int:
    """Write a model; weights go into ``NAME.data`` in the same folder above 2 GB.

    The file is complete or not there. Lazy weights are computed one at a time.

    Args:
        model: to write.
        path: of the file.
        check: is given the complete file before it gets to its place; it raises where it must not.

    Returns:
        Bytes written, external data included.

    Raises:
        InputError: the path is a folder, a device or a pipe, or cannot be written.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise InputError(f"a model is written to a file; '{target}' is something else")
    layout = skeleton(model.graph)
    with folder_beside(target) as folder:
        draft = folder / target.name
        if layout.size() > INLINE_LIMIT:
            _write_with_external_data(model, draft)
        else:
            _write_file(layout, draft)
        if check is not None:
            check(draft)
        return _move_files(draft, target)


def _move_files(draft: Path, target: Path) -> int:
    files = sorted(draft.parent.iterdir(), key=lambda file: file == draft)
    size = sum(file.stat().st_size for file in files)
    for file in files:
        file.replace(target.with_name(file.name))
    return size


def _write_file(layout: Skeleton, path: Path) -> None:
    with path.open("wb") as file:
        for piece in _file_pieces(layout):
            file.write(piece)


def to_bytes(model: Model) -> bytes:
    """The file's content, weights included; the same model gives the same bytes."""
    return b"".join(_file_pieces(skeleton(model.graph)))


def _file_pieces(layout: Skeleton) -> Iterator[bytes]:
    """The file's content in order; each stored value is computed in its turn."""
    yield layout.before
    yield _field_prefix(GRAPH, layout.graph_size)
    yield layout.first
    for tensor in layout.tensors:
        yield _field_prefix(INITIALIZER, tensor_size(tensor))
        yield from _tensor_pieces(tensor)
    yield layout.last
    yield layout.after


def _tensor_pieces(tensor: ir.TensorProtocol) -> Iterator[bytes]:
    """One stored value as a TensorProto: its head, then its bytes."""
    if isinstance(tensor, ir.TensorProtoTensor):
        yield tensor.raw.SerializeToString(deterministic=True)
    elif tensor.dtype == ir.DataType.STRING:
        yield ir.to_proto(tensor).SerializeToString(deterministic=True)
    else:
        yield head(tensor).SerializeToString(deterministic=True)
        yield _field_prefix(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, tensor.nbytes)
        yield content(tensor)


def _field_prefix(field: int, length: int) -> bytes:
    return varint(field << 3 | LENGTH) + varint(length)


def varint(number: int) -> bytes:
    """A number in base 128, low digits first, a bit on all digits but the last.

    >>> varint(300).hex()
    'ac02'
    """
    high, low = divmod(number, BASE)
    if not high:
        return bytes([low])
    return bytes([BASE | low]) + varint(high)


def _write_with_external_data(model: Model, path: Path) -> None:
    """Write large weights and the graph as two files."""
    graph = model.graph.clone()
    location = f"{path.name}.data"
    with path.with_name(location).open("wb") as file:
        for value in initializers(graph):
            tensor = value.const_value
            assert tensor is not None
            if tensor.dtype != ir.DataType.STRING and tensor.nbytes > EXTERNAL_ABOVE:
                offset = file.tell()
                file.write(content(tensor))
                value.const_value = ir.ExternalTensor(
                    location, offset, tensor.nbytes, tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()), name=str(value.name),
                    base_dir=path.parent,
                )  # fmt: skip
    proto = with_types(graph)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def write_model(
    model: Model,
    out: Path,
    sources: AbstractSet[Path],
    check: Callable[[Path], object] | None = None,
) -> int:
    """Write a model to a path that a user chose.

    Args:
        model: to write; see ``save``.
        out: path of the file; an existing file is replaced once the new one is complete.
        sources: files of the source model, which must not be overwritten.
        check: see ``save``.

    Returns:
        Bytes written, external data included.

    Raises:
        InputError: the path cannot be written, or is the source.
    """
    check_output(out, sources)
    return save(model, out, check)


FORMATS = {
    ".mlpackage": "Core ML", ".mlmodel": "Core ML", ".aimodel": "Core AI", ".tflite": "LiteRT",
    ".pte": "ExecuTorch", ".pt": "PyTorch", ".pth": "PyTorch", ".xml": "OpenVINO",
    ".ort": "ONNX Runtime's own", ".engine": "TensorRT", ".mnn": "MNN",
}  # fmt: skip
"""Names of other formats, by the ending of their files."""

EXPORTED: Mapping[str, FormatName] = {
    ".mlpackage": "coreml", ".aimodel": "coreai", ".tflite": "litert", ".pte": "executorch",
    ".xml": "openvino", ".ort": "ort",
}  # fmt: skip
"""Formats that ``packlight export`` writes, by the ending of their files."""


def check_model_path(out: Path) -> None:
    """Refuse a file name that does not end in ``.onnx``.

    Raises:
        InputError: with the format that the name stands for, and the way to it.
    """
    ending = out.suffix.lower()
    if ending == ".onnx":
        return
    if ending in FORMATS:
        name = out.with_suffix(".onnx").name
        then = "convert that file with the format's own tool"
        if ending in EXPORTED:
            then = f"packlight export {name} --to {EXPORTED[ending]} -o {out.stem}"
        raise InputError(
            f"'{out}' is a name for a file of the {FORMATS[ending]} format, and this writes ONNX: "
            f"write '{name}', then {then}"
        )
    raise InputError(f"the file of an ONNX model ends in .onnx; got '{out}'")


def check_output(out: Path, sources: AbstractSet[Path]) -> None:
    """Refuse a path that cannot be written, is no ``.onnx``, or belongs to the source."""
    check_output_path(out)
    source_paths = {path.resolve() for path in sources}
    if {out.resolve(), out.with_name(f"{out.name}.data").resolve()} & source_paths:
        raise InputError(f"'{out}' is what is read; name another file for the output")
    check_model_path(out)


def outside_files(model: Model) -> frozenset[Path]:
    """Files with the model's external data."""
    stored = [value.const_value for value in initializers(model.graph)]
    return frozenset(Path(t.path) for t in stored if isinstance(t, ir.ExternalTensor))
