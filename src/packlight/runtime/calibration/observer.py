"""Protocols of observers, which summarize the values that calibration samples give."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Observer(Protocol):
    """Summary of a stream of values; its memory does not grow with their number."""

    def update(self, value: NDArray[np.generic]) -> None:
        """Take in the value of one call of the model."""


class PairObserver(Protocol):
    """Summary of values and of those that a reference graph has in the same place."""

    def update_pair(self, value: NDArray[np.generic], reference: NDArray[np.generic]) -> None:
        """Take in the values of one call of both graphs."""
