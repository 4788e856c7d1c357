"""Arrays that wait in a temporary file until the model is written.

What a method finds for one weight after the other must be kept until the last is found. In memory
that would grow with the depth of a model.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SMALL = 4096
"""Bytes up to which an array stays in memory."""


class Aside:
    """Arrays in a temporary file, which is gone with the last of them.

    They come back to any thread. Where there is no room for a file, they stay in memory; where the
    system keeps temporary files in memory, so do they.
    """

    def __init__(self) -> None:
        self.file: IO[bytes] | None = None
        self.lock = Lock()
        self.end = 0
        self.full = False

    def put(self, array: Array) -> Callable[[], Array]:
        """Put an array aside; what is given brings it back."""
        if array.nbytes <= SMALL or array.dtype.kind not in "biufc" or self.full:
            return lambda: array
        place, data = self.end, np.ascontiguousarray(array).data.cast("B")
        try:
            with self.lock:
                file = self.opened()
                file.seek(place)
                while data:
                    data = data[file.write(data) :]
        except OSError:  # no folder for it, or the disk is full
            self.full = True
            return lambda: array
        self.end = place + array.nbytes
        return partial(self.get, place, array.dtype, array.shape)

    def opened(self) -> IO[bytes]:
        """The file, made when it is needed first; unbuffered, so that what fails leaves nothing."""
        if self.file is None:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as this
            weakref.finalize(self, self.file.close)
        return self.file

    def get(self, place: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """The array that was put at a place of the file."""
        found = np.empty(shape, dtype)
        rest = found.data.cast("B")
        with self.lock:
            file = self.opened()
            file.seek(place)
            while rest:
                read = file.readinto(rest)  # type: ignore[attr-defined]
                if not read:
                    raise OSError(f"a temporary file ended {len(rest)} bytes too early")
                rest = rest[read:]
        return found
