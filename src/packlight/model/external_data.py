"""What of a model lies in other files than its own."""

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
"""Bytes up to which a tensor is read with the model. A use of one that is not maps all of its file,
so thousands of them would take more address space than a process has."""


def stored_files(path: str | Path) -> frozenset[Path]:
    """A model's file with all that its external data lies in.

    Args:
        path: of a model that was loaded before, so that what lies outside was checked.
    """
    file = Path(path)
    found = outside(onnx.load(file, load_external_data=False))
    return frozenset({file, *(file.parent / location(tensor) for tensor in found)})


def stored_size(path: str | Path) -> int:
    """Bytes of a model's file with all its external data, each file counted once."""
    return sum(file.stat().st_size for file in stored_files(path))


def take_in_small(proto: onnx.ModelProto, file: Path) -> None:
    """Read small tensors that lie outside, in place.

    Args:
        proto: was checked, so that what lies outside is there and of the size that it states.
        file: of the model.

    Raises:
        ModelError: a file beside the model cannot be read.
    """
    small = [tensor for tensor in outside(proto) if own_bytes(tensor) <= SMALL]
    with ExitStack() as opened:
        try:
            beside = {
                name: opened.enter_context((file.parent / name).open("rb"))
                for name in dict.fromkeys(map(location, small))
            }
            for tensor in small:
                source = beside[location(tensor)]
                source.seek(int(entry(tensor, "offset") or 0))
                tensor.raw_data = source.read(own_bytes(tensor))
        except OSError as error:
            raise ModelError(
                f"the external data of '{file.name}' cannot be read: {error.strerror}"
            ) from error
    for tensor in small:
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")


def outside(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Tensors that lie in other files; texts never do, whatever a file says."""
    for tensor in tensors(proto):
        if is_external(tensor) and tensor.data_type != TensorProto.STRING:
            yield tensor


def own_bytes(tensor: TensorProto) -> int:
    """Bytes of a tensor's numbers, wherever they lie."""
    return stored_bytes(tensor, math.prod(tensor.dims))


def location(tensor: TensorProto) -> str:
    """The file that a tensor lies in, seen from the model's folder."""
    return entry(tensor, "location")


def entry(tensor: TensorProto, key: str) -> str:
    """What a tensor says of its place; nothing where it says nothing."""
    return next((e.value for e in reversed(tensor.external_data) if e.key == key), "")
