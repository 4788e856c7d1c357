"""Files named by the digest of their content: written to a temporary path, synced, then renamed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

from packlight.disk import new_file, remove, temporary_name
from packlight.errors import InputError
from packlight.records import Measurement, counted

PREFIX = 32
"""Hexadecimal digits of the SHA-256 that name a file."""
MODEL = "model.onnx"
CHUNK = 2**20
SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,16})*")

Source = bytes | Path | Callable[[Path], object]


def put_file(folder: Path, source: Source, suffix: str) -> str:
    """Store a file and return its name inside ``folder``; equal content is stored once.

    Args:
        folder: where the files are.
        source: the content, a file to copy, or a function that writes to the path it is given.
        suffix: of the name, as ``.npz``.
    """
    if not SUFFIX.fullmatch(suffix):
        raise InputError(
            f"a suffix is letters and digits after a dot, as in '.npz'; got '{suffix}'"
        )
    temporary = _temporary_path(folder, suffix)
    try:
        write(source, temporary)
        name = _digest_of(temporary)[:PREFIX] + suffix
        _sync(temporary)
        temporary.replace(folder / name)
    finally:
        remove(temporary)
    _sync(folder)
    return name


def put_model(folder: Path, writes: Callable[[Path], object]) -> str:
    """Store a model with its external data and return the name of its main file.

    Args:
        folder: where the files are.
        writes: given the path of ``model.onnx`` in an empty folder; may write other files there.
    """
    temporary = _temporary_path(folder)
    try:
        temporary.mkdir()
        writes(temporary / MODEL)
        if not (temporary / MODEL).is_file():
            raise InputError(f"storing a model needs its file '{MODEL}'; it was not written")
        name = _digest_of_folder(temporary)[:PREFIX]
        for path in (*_files_below(temporary), temporary):
            _sync(path)
        _move_folder(temporary, folder / name)
    finally:
        remove(temporary)
    _sync(folder)
    return f"{name}/{MODEL}"


def write(source: Source, path: Path) -> None:
    """Write a source's content to a path."""
    if isinstance(source, bytes):
        with open(path, "wb", opener=new_file) as file:
            file.write(source)
    elif isinstance(source, Path):
        if not source.is_file():
            raise InputError(f"storing a file needs a file; '{source}' is none")
        shutil.copyfile(source, path)
    else:
        source(path)


def _move_folder(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir() or _digest_of_folder(target) != _digest_of_folder(source):
            raise


def deflated_size(path: Path) -> int:
    """Bytes of a file after deflate, as zip and app stores compress a download."""
    compressor = zlib.compressobj(6)
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(compressor.compress(chunk))
    return size + len(compressor.flush())


def sizes_of(files: Collection[Path]) -> dict[str, Measurement]:
    """Bytes of all files together, on disk (``size``) and as a download."""
    size = sum(path.stat().st_size for path in files)
    download = sum(deflated_size(path) for path in files)
    return {"size": counted(size, "B"), "download": counted(download, "B")}


def matches(path: Path, name: str) -> bool:
    """Tell if a file, or a model's folder, has the content that its stored name states.

    Args:
        path: of the file, or of the model's main file.
        name: as ``put_file`` or ``put_model`` returned it.
    """
    stated = Path(name)
    if stated.name == MODEL:
        return _digest_of_folder(path.parent)[:PREFIX] == stated.parent.name
    return _digest_of(path)[:PREFIX] == stated.name.partition(".")[0]


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_folder(folder: Path) -> str:
    lines = [
        f"{path.relative_to(folder).as_posix()}\0{_digest_of(path)}"
        for path in _files_below(folder)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _temporary_path(folder: Path, suffix: str = "") -> Path:
    return folder / f".{temporary_name(suffix)}"


def _sync(path: Path) -> None:
    """Wait until a file, or on POSIX the entries of a folder, are on disk."""
    if path.is_dir() and os.name != "posix":
        return
    mode = os.O_RDONLY if os.name == "posix" else os.O_RDWR
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
