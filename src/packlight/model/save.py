"""Write a model, and know the size of the file before it is written."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from packlight.errors import InputError
from packlight.model.model import Model, initializers, release
from packlight.model.size import file_size, self_contained

INLINE_LIMIT = 2**31 - 2**20
"""Files above this keep their weights beside them: protobuf stops at 2 GB."""


def save(model: Model, path: str | Path) -> int:
    """Write a model; weights go into ``NAME.data`` beside it where one file cannot hold them.

    The file appears whole or not at all.

    Returns:
        Bytes written, external data included.

    Raises:
        InputError: at the path is a folder, a device or a pipe.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise InputError(f"a model is written to a file; '{target}' is something else")
    if file_size(model.graph) > INLINE_LIMIT:
        return save_external(model, target)
    data = to_bytes(model)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(target)
    return len(data)


def to_bytes(model: Model) -> bytes:
    """The file's content, weights inside; the same model gives the same bytes."""
    data: bytes = ir.to_proto(self_contained(model.graph)).SerializeToString(deterministic=True)
    for value in initializers(model.graph):
        assert value.const_value is not None
        release(value.const_value)
    return data


def save_external(model: Model, target: Path) -> int:
    """Write graph and weights as two files, one tensor at a time; the graph appears last."""
    weights = f"{target.name}.data"
    with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        draft = Path(folder) / target.name
        ir.save(model.graph.clone(), draft, external_data=weights)
        size = draft.stat().st_size + (draft.parent / weights).stat().st_size
        (draft.parent / weights).replace(target.parent / weights)
        draft.replace(target)
    return size


def stored_size(path: str | Path) -> int:
    """Bytes of a model's file with all its external data, each file counted once."""
    file = Path(path)
    graph = ir.load(file, format="protobuf")
    tensors = [value.const_value for value in initializers(graph)]
    locations = {str(t.location) for t in tensors if isinstance(t, ir.ExternalTensor)}
    return file.stat().st_size + sum((file.parent / name).stat().st_size for name in locations)
