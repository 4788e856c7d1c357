"""Ranges of activations, from one pass over a stream of values and in constant memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packlight.method import Statistic

BINS = 4096
"""Even, so that zero is an edge. A percentile is known to 1 / 2048 of the widest value."""

LEVELS = 255
"""Integer steps of an 8-bit grid."""


@dataclass(frozen=True, slots=True)
class Affine:
    """A grid for activations: value = (code - zero_point) * scale, codes in [0, 255].

    Attributes:
        scale: real value of one step, > 0.
        zero_point: the code of 0.0, which is always on the grid.
    """

    scale: float
    zero_point: int


class Histogram:
    """Counts of values in equal bins around zero; the bins widen by doubling as values come.

    Two-sided and independent of the order of the values up to the first bin width.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.reach = 0.0
        self.counts = np.zeros(BINS, np.int64)
        self.bad = 0

    def update(self, value: NDArray[np.generic]) -> None:
        """Count the finite numbers of an array of any shape."""
        flat = np.asarray(value, np.float32).ravel()
        finite = np.isfinite(flat)
        if not finite.all():
            self.bad += int(flat.size - np.count_nonzero(finite))
            flat = flat[finite]
        if not flat.size:
            return
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self.widen(max(abs(self.low), abs(self.high)))
        places = ((flat.astype(np.float64) + self.reach) * (BINS / (2 * self.reach))).astype(
            np.int64
        )
        self.counts += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)

    def widen(self, reach: float) -> None:
        """Let the bins reach at least so far, merging neighbours around zero."""
        if self.reach == 0.0:
            self.reach = 2.0 ** math.ceil(math.log2(max(reach, 1e-30)))
        while self.reach < reach:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : BINS // 4 + BINS // 2] = pairs
            self.reach *= 2

    def minmax(self) -> tuple[float, float]:
        """The smallest and the largest value seen."""
        return self.low, self.high

    def percentile(self, share: float) -> tuple[float, float]:
        """The range that holds this share, in percent, of the values on each side of it.

        Args:
            share: above 50, at most 100; the range leaves out 100 - share percent at each end.

        Returns:
            Edges of bins, never wider than what was seen.
        """
        total = int(self.counts.sum())
        outside = total * (1 - share / 100)
        edges = np.linspace(-self.reach, self.reach, BINS + 1)
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, outside, side="right"))
        above = np.cumsum(self.counts[::-1])
        last = BINS - 1 - int(np.searchsorted(above, outside, side="right"))
        low, high = float(edges[first]), float(edges[last + 1])
        return max(low, self.low), min(high, self.high)


def affine(histogram: Statistic, rule: Literal["minmax", "percentile"], share: float) -> Affine:
    """The 8-bit grid for what a histogram saw."""
    assert isinstance(histogram, Histogram)
    low, high = histogram.minmax() if rule == "minmax" else histogram.percentile(share)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / LEVELS)) or 1.0
    return Affine(scale, int(np.clip(round(-low / scale), 0, LEVELS)))
