"""Write a model where the user wants it: whole or not at all, and never over its source."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

import onnx_ir as ir

from packlight.errors import InputError
from packlight.model import Model, initializers, save


def write_model(model: Model, out: Path, sources: AbstractSet[Path]) -> int:
    """Write a model.

    Args:
        model: to write; weights past 2 GB go into a second file beside it.
        out: path of the file; one that is there is replaced once the new one is whole.
        sources: files that it was made from, which are left alone.

    Returns:
        Bytes written, external data included.

    Raises:
        InputError: the path cannot be written, or is the source.
    """
    check_target(out, sources)
    try:
        return save(model, out)
    except OSError as error:
        raise InputError(f"'{out}' cannot be written: {error.strerror}") from error


def check_target(out: Path, sources: AbstractSet[Path]) -> None:
    """Refuse a path that is no place for a file, or belongs to the source."""
    check_place(out)
    mine = {path.resolve() for path in sources}
    if {out.resolve(), out.with_name(f"{out.name}.data").resolve()} & mine:
        raise InputError(f"'{out}' is what is read; name another file for the output")


def check_place(out: Path) -> None:
    """Refuse a path that no file can be put at; a device or a pipe there would be replaced.

    Raises:
        InputError: saying what is there, or is not.
    """
    if not out.parent.is_dir():
        raise InputError(f"the output's folder must exist; '{out.parent}' does not. Make it first")
    if out.exists() and not out.is_file():
        kind = "a folder" if out.is_dir() else "a device or a pipe"
        raise InputError(f"the output is a file; '{out}' is {kind}. Name a file")


def outside_files(model: Model) -> frozenset[Path]:
    """Files with the model's external data."""
    stored = [value.const_value for value in initializers(model.graph)]
    return frozenset(Path(t.path) for t in stored if isinstance(t, ir.ExternalTensor))
