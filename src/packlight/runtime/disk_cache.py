"""Samples that are made once, however often they are looked at."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from packlight.runtime import Steps

Form = tuple[str, np.dtype[np.generic], tuple[int, ...]]
"""Name, type and shape of an array."""

MOST = 2**30
"""Bytes of samples that are kept; those beyond are made anew at every look."""


class Spool:
    """Samples as they were made at the first look, kept in a temporary file.

    Crops, tokens and sound cost time to make, and methods look at them once for every stage. Arrays
    lie in the file as bare bytes: to read the heads of NumPy's own files in several threads at once
    can fail, for they are parsed as Python.

    Args:
        source: makes them.
        most: bytes that are kept.
    """

    def __init__(self, source: Sequence[Steps], most: int = MOST) -> None:
        self.source = source
        self.most = most
        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the spool
        weakref.finalize(self, self.file.close)
        self.places: dict[int, tuple[int, list[list[Form]]]] = {}
        self.lock = RLock()

    def __getitem__(self, index: int) -> Steps:
        """The sample at an index, as its source made it; several threads may ask."""
        with self.lock:
            if index in self.places:
                return self.read(*self.places[index])
            made = self.source[index]
            self.keep(index, made)
            return made

    def read(self, place: int, calls: Sequence[Sequence[Form]]) -> Steps:
        """A sample that is kept."""
        self.file.seek(place)
        return [{name: self.array(dtype, shape) for name, dtype, shape in call} for call in calls]

    def array(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
        """The next array in the file."""
        found = np.empty(shape, dtype)
        left = bare(found)
        while left:
            count = self.file.readinto(left)
            if not count:
                raise EOFError("a temporary file became shorter than what was written to it")
            left = left[count:]
        return found

    def keep(self, index: int, made: Steps) -> None:
        """Keep a sample, if there is room and a file can hold it."""
        place = self.file.seek(0, 2)
        calls = [
            [
                (name, np.ascontiguousarray(value).reshape(np.shape(value)))
                for name, value in feeds.items()
            ]
            for feeds in made
        ]
        arrays = [array for call in calls for _, array in call]
        if place + sum(a.nbytes for a in arrays) > self.most or any(
            a.dtype.hasobject for a in arrays
        ):
            return
        try:
            for array in arrays:
                left = bare(array)
                while left:
                    left = left[self.file.write(left) :]
        except OSError:  # the disk is full
            self.most = 0
            return
        forms: list[list[Form]] = [
            [(name, array.dtype, array.shape) for name, array in call] for call in calls
        ]
        self.places[index] = place, forms


def bare(array: NDArray[np.generic]) -> memoryview:
    """The bytes of an array whose numbers lie one after the other."""
    return array.reshape(-1).view(np.uint8).data
