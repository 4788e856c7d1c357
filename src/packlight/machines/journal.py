"""Answers of machines in a file, so that an interrupted measurement goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from packlight.disk import no_follow, replacing, unwritable
from packlight.errors import DeviceError
from packlight.machines.connection import Arrays, Header, Reply
from packlight.runtime.agent import MAX_HEADER, read_message, write_message

KEY = "key"


class Journal:
    """Answers by request; a file is complete but for the last one of a killed process.

    Args:
        path: of the file; it may exist. None keeps nothing.

    Raises:
        DeviceError: the file holds something else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._starts: dict[str, int] = {}
        if path is not None and path.exists():
            self._index(path)

    def __len__(self) -> int:
        return len(self._starts)

    def answer(self, request: Header, arrays: Arrays, ask: Callable[[], Reply]) -> Reply:
        """The answer to a request: from the file, or asked for and written down.

        Args:
            request: all that the answer depends on, beside the arrays.
            arrays: of the request.
            ask: to get the answer.
        """
        key = request_key(request, arrays)
        if key in self._starts:
            return self._read(self._starts[key])
        header, outputs = ask()
        if self.path is not None:
            self._append(self.path, {**header, KEY: key}, outputs)
        return header, outputs

    def _index(self, path: Path) -> None:
        """Find where each answer starts, and cut off what is incomplete."""
        with path.open("rb") as file:
            end = 0
            while end < path.stat().st_size:
                try:
                    header, _ = read_message(file, 2 * MAX_HEADER)
                except EOFError:
                    break
                except ValueError as error:
                    raise _foreign(path) from error
                if not isinstance(header.get(KEY), str):
                    raise _foreign(path)
                self._starts[header[KEY]] = end
                end = file.tell()
        if end < path.stat().st_size:
            _cut(path, end)

    def _read(self, start: int) -> Reply:
        assert self.path is not None
        with self.path.open("rb") as file:
            file.seek(start)
            return read_message(file, 2 * MAX_HEADER)

    def _append(self, path: Path, header: dict[str, Any], outputs: Arrays) -> None:
        try:
            with open(path, "ab", opener=no_follow) as file:
                start = file.tell()
                write_message(file, header, dict(outputs))
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(path, error) from error
        self._starts[header[KEY]] = start


def request_key(request: Mapping[str, Any], arrays: Arrays) -> str:
    """Digest of a request and its arrays."""
    total = hashlib.sha256(json.dumps(request, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"|{name}:{array.dtype.name}:{array.shape}|".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _foreign(path: Path) -> DeviceError:
    return DeviceError(
        f"'{path}' must hold answers of an earlier measurement, and does not: delete it, or write "
        "to another file"
    )


def _cut(path: Path, end: int) -> None:
    """Keep the beginning of a file."""
    with path.open("rb") as file, replacing(path) as copy:
        _copy(file, copy, end)


def _copy(file: BinaryIO, copy: Any, end: int) -> None:
    remaining = end
    while remaining:
        piece = file.read(min(1 << 20, remaining))
        copy.write(piece)
        remaining -= len(piece)
