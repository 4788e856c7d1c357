"""Arrays that wait on disk until the file is written.

What a method finds for one weight after the other must be kept until the last is found. In memory
that would grow with the depth of a model.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Array = NDArray[Any]

SMALL = 4096
"""Bytes up to which an array stays in memory."""


class Aside:
    """Arrays in a temporary file, which is gone with the last of them.

    Where the disk is full, they stay in memory.
    """

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
        weakref.finalize(self, self.file.close)

    def put(self, array: Array) -> Callable[[], Array]:
        """Put an array aside; what is given brings it back."""
        if array.nbytes <= SMALL or array.dtype.hasobject:
            return lambda: array
        place = self.file.seek(0, 2)
        try:
            npy.write_array(self.file, array, allow_pickle=False)
            self.file.flush()
        except OSError:  # the disk is full
            return lambda: array
        return partial(self.get, place)

    def get(self, place: int) -> Array:
        """The array that was put at a place of the file."""
        self.file.seek(place)
        return np.asarray(npy.read_array(self.file, allow_pickle=False))
