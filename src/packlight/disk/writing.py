"""Write a file beside its place and rename it once it is complete; folders for what is temporary.

Names are random, and files are made new and never through a link, so that nobody who prepares a
folder can lead a write elsewhere.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from packlight.disk.leftovers import remove, sweep, temporary_name
from packlight.disk.reasons import disk_reason, is_refusal, unwritable
from packlight.errors import InputError

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NEW = os.O_CREAT | os.O_EXCL | NO_FOLLOW
RIGHTS = 0o666
"""Rights of a new file, of which the user's mask takes some."""


def no_follow(path: str, flags: int) -> int:
    """Opener for ``open`` that does not follow a link."""
    return os.open(path, flags | NO_FOLLOW, RIGHTS)


def new_file(path: str, flags: int) -> int:
    """Opener for ``open`` that makes a file, and takes none that is there."""
    return os.open(path, flags | NEW, RIGHTS)


def check_output_path(out: Path) -> None:
    """Refuse a path without a folder, or one that is a folder, a device or a pipe.

    Raises:
        InputError: with the path and its kind.
    """
    if not out.parent.is_dir():
        raise InputError(f"the output's folder must exist; '{out.parent}' does not. Make it first")
    if out.exists() and not out.is_file():
        kind = "a folder" if out.is_dir() else "a device or a pipe"
        raise InputError(f"the output is a file; '{out}' is {kind}. Name a file")


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes a path's place at the end, complete or not at all.

    Args:
        path: of the file; a link there is replaced, not followed.
        overwrite: whether a file that is there is replaced.

    Raises:
        InputError: it cannot be written, or exists and must not be replaced; the message says why.
    """
    check_output_path(path)
    sweep(path.parent)
    temporary = path.with_name(f".{temporary_name()}")
    try:
        with open(temporary, "wb", opener=new_file) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _place(temporary, path)
    except FileExistsError as error:
        raise InputError(f"'{path}' exists; name another file") from error
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        raise unwritable(path, error) from error
    finally:
        remove(temporary)


def _place(temporary: Path, path: Path) -> None:
    """Rename a file to a path where there is none."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:  # a file system without hard links
        if path.exists():
            raise FileExistsError from error
        temporary.replace(path)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for temporary files, of this user alone, that is deleted at the end.

    Raises:
        InputError: it cannot be made, or the disk is full; the message says so.
    """
    place = temporary_folder()
    name = temporary_name()
    try:
        with _folder_in(place, name) as folder:
            yield folder
    except OSError as error:
        if not _is_inside(error, place / name) or not is_refusal(error):
            raise
        raise _no_scratch(place, error) from error


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Make a folder beside a file, for its drafts, that is deleted at the end.

    Raises:
        InputError: the disk does not take what is written to it; the message names the file.
    """
    try:
        with _folder_in(path.parent, f".{temporary_name()}") as folder:
            yield folder
    except OSError as error:
        if not is_refusal(error):
            raise
        raise unwritable(path, error) from error


@contextmanager
def _folder_in(place: Path, name: str) -> Iterator[Path]:
    sweep(place)
    folder = place / name
    folder.mkdir(0o700)
    try:
        yield folder
    finally:
        remove(folder)


def _is_inside(error: OSError, folder: Path) -> bool:
    return error.filename is None or Path(str(error.filename)).is_relative_to(folder)


def _no_scratch(place: Path, error: OSError) -> InputError:
    return InputError(
        f"temporary files cannot be written to '{place}': {disk_reason(error)}. TMPDIR names "
        "another folder for them"
    )


def temporary_folder() -> Path:
    """The system's folder for temporary files.

    Raises:
        InputError: none can be written.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise InputError(
            "there is no folder for temporary files that can be written; name one in TMPDIR"
        ) from error
