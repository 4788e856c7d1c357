"""Arrays in a temporary file: samples that are made once, and results that wait for the last one.

Arrays lie in the file as bare bytes: to read the headers of NumPy's own files in several threads at
once can fail, for they are parsed as Python.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from threading import RLock
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from packlight.runtime.calls import Steps

Array = NDArray[Any]
Reader = Callable[[], Array]
"""Reads an array back, as often as it is called and in any thread."""

SMALL = 4096
"""Bytes up to which a waiting array stays in memory."""

CACHE_BYTES = 2**30
"""Bytes of samples that are cached; those beyond are made again in every pass."""


class DiskCache:
    """Arrays in a temporary file, which is deleted with the last reader.

    Where the system keeps temporary files in memory, so does the cache.

    Args:
        max_bytes: room in the file.
    """

    def __init__(self, max_bytes: float = math.inf) -> None:
        self.max_bytes = max_bytes
        self.file: IO[bytes] | None = None
        self.size = 0
        self.lock = RLock()

    def put(self, array: Array) -> Reader:
        """Write a large array of numbers; others, and those without room, stay in memory."""
        waits = array.nbytes > SMALL and array.dtype.kind in "biufc"
        return (self.write(array) if waits else None) or (lambda: array)

    def write(self, array: Array) -> Reader | None:
        """Append an array; None where there is no room for it or it holds Python objects."""
        with self.lock:
            if array.dtype.hasobject or self.size + array.nbytes > self.max_bytes:
                return None
            data = _raw_bytes(np.ascontiguousarray(array))
            try:
                file = self.opened()
                file.seek(self.size)
                while data:
                    data = data[file.write(data) :]
            except OSError:  # no folder for temporary files, or the disk is full
                self.max_bytes = 0
                return None
            reader = partial(self.read, self.size, array.dtype, array.shape)
            self.size += array.nbytes
        return reader

    def opened(self) -> IO[bytes]:
        """The file, created at the first write; unbuffered, so that a failed write leaves none."""
        if self.file is None:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as this
            weakref.finalize(self, self.file.close)
        return self.file

    def read(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """Read the array that begins at an offset of the file."""
        array = np.empty(shape, dtype)
        unread = _raw_bytes(array)
        with self.lock:
            file = self.opened()
            file.seek(offset)
            while unread:
                count = file.readinto(unread)  # type: ignore[attr-defined]
                if not count:
                    raise EOFError(f"a temporary file ended {len(unread)} bytes too early")
                unread = unread[count:]
        return array


class SampleCache:
    """Samples as they were made at the first pass, kept in a disk cache.

    Crops, tokens and sound cost time to make, and methods need them once for every stage.

    Args:
        source: makes the samples.
        max_bytes: room in the file.
    """

    def __init__(self, source: Sequence[Steps] = (), max_bytes: int = CACHE_BYTES) -> None:
        self.source = source
        self.cache = DiskCache(max_bytes)
        self.stored: dict[int, list[dict[str, Reader]]] = {}
        self.lock = RLock()

    def __len__(self) -> int:
        """Count the samples of the source."""
        return len(self.source)

    def __getitem__(self, index: int) -> Steps:
        """The sample at an index, as its source made it; several threads may ask."""
        with self.lock:
            if index in self.stored:
                calls = self.stored[index]
                return [{name: read() for name, read in call.items()} for call in calls]
            sample = self.source[index]
            self.store(index, sample)
            return sample

    def store(self, index: int, sample: Steps) -> None:
        """Store a sample, if there is room and a file can hold it."""
        arrays = [np.asarray(value) for feeds in sample for value in feeds.values()]
        size = self.cache.size + sum(array.nbytes for array in arrays)
        if size > self.cache.max_bytes or any(array.dtype.hasobject for array in arrays):
            return
        readers = [reader for array in arrays if (reader := self.cache.write(array))]
        if len(readers) == len(arrays):
            unassigned = iter(readers)
            self.stored[index] = [{name: next(unassigned) for name in feeds} for feeds in sample]


def _raw_bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
