"""Samples that are made once, however often they are looked at."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from threading import RLock

import numpy as np
from numpy.lib import format as npy

from packlight.runtime import Steps

MOST = 2**30
"""Bytes of samples that are kept; those beyond are made anew at every look."""


class Spool:
    """Samples as they were made at the first look, kept in a temporary file.

    Crops, tokens and sound cost time to make, and methods look at them once for every stage.

    Args:
        source: makes them.
        most: bytes that are kept.
    """

    def __init__(self, source: Sequence[Steps], most: int = MOST) -> None:
        self.source = source
        self.most = most
        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the spool
        weakref.finalize(self, self.file.close)
        self.places: dict[int, tuple[int, list[list[str]]]] = {}
        self.lock = RLock()

    def __getitem__(self, index: int) -> Steps:
        """The sample at an index, as its source made it; several threads may ask."""
        with self.lock:
            if index in self.places:
                return self.read(*self.places[index])
            made = self.source[index]
            self.keep(index, made)
            return made

    def read(self, place: int, calls: Sequence[Sequence[str]]) -> Steps:
        """A sample that is kept."""
        self.file.seek(place)
        return [
            {name: npy.read_array(self.file, allow_pickle=False) for name in names}
            for names in calls
        ]

    def keep(self, index: int, made: Steps) -> None:
        """Keep a sample, if there is room and a file can hold it."""
        place = self.file.seek(0, 2)
        arrays = [np.asarray(value) for feeds in made for value in feeds.values()]
        if place + sum(a.nbytes for a in arrays) > self.most or any(
            a.dtype.hasobject for a in arrays
        ):
            return
        try:
            for array in arrays:
                npy.write_array(self.file, array, allow_pickle=False)
        except OSError:  # the disk is full
            self.most = 0
            return
        self.places[index] = place, [list(feeds) for feeds in made]
