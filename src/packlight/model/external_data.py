"""The parts of a model that lie in files of their own: external data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import onnx
from onnx import TensorProto

from packlight.errors import ModelError
from packlight.model.check import is_external, stored_bytes, tensors

SMALL = 8192
"""Bytes up to which a tensor is read with the model. A use of a larger one maps all of its file, so
thousands of them would exceed the address space of a process."""


def stored_files(path: str | Path) -> frozenset[Path]:
    """A model's file and all files of its external data.

    Args:
        path: of a model that was loaded before, so that its external data was checked.
    """
    file = Path(path)
    tensors = _external_tensors(onnx.load(file, load_external_data=False))
    return frozenset({file, *(file.parent / _location(tensor) for tensor in tensors)})


def stored_size(path: str | Path) -> int:
    """Bytes of a model's file with all its external data, each file counted once."""
    return sum(file.stat().st_size for file in stored_files(path))


def inline_small_tensors(proto: onnx.ModelProto, file: Path) -> None:
    """Read small external tensors into the model, in place.

    Args:
        proto: was checked, so that its external data is there and of the stated size.
        file: of the model.

    Raises:
        ModelError: a file beside the model cannot be read.
    """
    small = [tensor for tensor in _external_tensors(proto) if _tensor_bytes(tensor) <= SMALL]
    with ExitStack() as opened:
        try:
            files = {
                name: opened.enter_context((file.parent / name).open("rb"))
                for name in dict.fromkeys(map(_location, small))
            }
            for tensor in small:
                source = files[_location(tensor)]
                source.seek(int(_external_entry(tensor, "offset") or 0))
                tensor.raw_data = source.read(_tensor_bytes(tensor))
        except OSError as error:
            raise ModelError(
                f"the external data of '{file.name}' cannot be read: {error.strerror}"
            ) from error
    for tensor in small:
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")


def _external_tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    for tensor in tensors(proto):
        if is_external(tensor) and tensor.data_type != TensorProto.STRING:
            yield tensor


def _tensor_bytes(tensor: TensorProto) -> int:
    return stored_bytes(tensor, math.prod(tensor.dims))


def _location(tensor: TensorProto) -> str:
    return _external_entry(tensor, "location")


def _external_entry(tensor: TensorProto, key: str) -> str:
    return next((e.value for e in reversed(tensor.external_data) if e.key == key), "")
