"""Ranges of activations, from one pass over a stream of values and in constant memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packlight.compression.grids.clipping import least_divergent, least_squares, squared_error
from packlight.compression.method import Statistic
from packlight.records.configs import ActivationRange

BINS = 4096
"""Even, so that zero is an edge. A percentile is known to 1 / 2048 of the widest value."""

LEVELS = 255
"""Integer steps of an 8-bit grid."""

MIDDLE, HALF_WIDE = 127, 32767
"""Codes above the one in the middle, of 8 and 16 bits."""


@dataclass(frozen=True, slots=True)
class Affine:
    """A grid for activations: value = (code - zero_point) * scale, codes in [0, 2**bits).

    Attributes:
        scale: real value of one step, > 0.
        zero_point: the code of 0.0, which is always on the grid.
        bits: of a code.
    """

    scale: float
    zero_point: int
    bits: Literal[8, 16] = 8


class Histogram:
    """Counts of values in equal bins around zero; the bins widen by doubling as values come.

    Two-sided, and independent of the order of the values and of how they were split up before they
    were merged, up to the first bin width. Zeros are also counted apart: they lie on every grid.
    So are numbers that are not whole: where there are none, a grid of step 1 may hold all.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.reach = 0.0
        self.counts = np.zeros(BINS, np.int64)
        self.zeros = 0
        self.broken = 0
        self.bad = 0

    def update(self, value: NDArray[np.generic]) -> None:
        """Count the finite numbers of an array of any shape."""
        flat = np.asarray(value, np.float32).ravel()
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not math.isfinite(low + high):
            finite = flat[np.isfinite(flat)]
            self.bad += flat.size - finite.size
            self.update(finite)
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.widen(max(abs(self.low), abs(self.high)))
        zeros, broken = compiled().count(flat, self.reach, self.counts)
        self.zeros += zeros
        self.broken += broken

    def merge(self, other: Histogram) -> None:
        """Take in what another histogram saw; the other one stays as it is up to its bin width."""
        if not other.reach:
            self.bad += other.bad
            return
        self.widen(other.reach)
        other.widen(self.reach)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.counts += other.counts
        self.zeros += other.zeros
        self.broken += other.broken
        self.bad += other.bad

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

    def edges(self) -> NDArray[np.float64]:
        """Where bins begin and the last one ends, (BINS + 1,)."""
        return np.linspace(-self.reach, self.reach, BINS + 1)

    def percentile(self, share: float) -> tuple[float, float]:
        """The range that holds this share, in percent, of the values on each side of it.

        Args:
            share: above 50, at most 100; the range leaves out 100 - share percent at each end.

        Returns:
            Edges of bins, never wider than what was seen.
        """
        total = int(self.counts.sum())
        outside = total * (1 - share / 100)
        edges = self.edges()
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, outside, side="right"))
        above = np.cumsum(self.counts[::-1])
        last = BINS - 1 - int(np.searchsorted(above, outside, side="right"))
        low, high = float(edges[first]), float(edges[last + 1])
        return max(low, self.low), min(high, self.high)

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values in the middle of the bins that hold any, as far as they were seen; their counts.

        Zeros are left out.
        """
        middle = (self.edges()[:-1] + self.edges()[1:]) / 2
        counts = self.counts.astype(np.float64)
        counts[BINS // 2] -= self.zeros
        held = counts > 0
        return np.clip(middle[held], self.low, self.high), counts[held]

    def outside(self, low: float, high: float) -> float:
        """Share of the values that bins put below or above a range."""
        centres, counts = self.centres()
        total = float(counts.sum()) + self.zeros
        return float(counts[(centres < low) | (centres > high)].sum()) / total if total else 0.0


def affine(
    histogram: Statistic, rule: ActivationRange, share: float, *, symmetric: bool = False
) -> Affine:
    """The 8-bit grid for what a histogram saw; of step 1 where that holds all of it.

    Args:
        histogram: what was seen.
        rule: how wide the range is.
        share: kept at each end, in percent, by the rule ``percentile``.
        symmetric: whether the code of 0.0 is to be the one in the middle.
    """
    assert isinstance(histogram, Histogram)
    if symmetric:
        reach = max(map(abs, RULES[rule](histogram, share)))
        return Affine(float(np.float32(reach / MIDDLE)) or 1.0, MIDDLE + 1)
    low, high = min(round(histogram.low), 0), max(round(histogram.high), 0)
    if not histogram.broken and high - low <= LEVELS:
        return Affine(1.0, -low)
    return spanned(*RULES[rule](histogram, share))


def spanned(low: float, high: float, bits: Literal[8, 16] = 8) -> Affine:
    """The grid from one number to another, widened to hold 0."""
    low, high, steps = min(low, 0.0), max(high, 0.0), (1 << bits) - 1
    scale = float(np.float32((high - low) / steps)) or 1.0
    return Affine(scale, int(np.clip(round(-low / scale), 0, steps)), bits)


def widened(histogram: Statistic, *, symmetric: bool = False) -> Affine:
    """The 16-bit grid for all that a histogram saw."""
    assert isinstance(histogram, Histogram)
    low, high = histogram.minmax()
    if symmetric:
        reach = max(-low, high)
        return Affine(float(np.float32(reach / HALF_WIDE)) or 1.0, HALF_WIDE + 1, 16)
    return spanned(low, high, 16)


def fidelity(histogram: Statistic, grid: Affine) -> float:
    """How far the energy of what was seen is above the error of an 8-bit grid, in dB."""
    assert isinstance(histogram, Histogram)
    if grid.scale == 1.0 and not histogram.broken:
        return math.inf
    centres, counts = histogram.centres()
    low, high = (float((code - grid.zero_point) * grid.scale) for code in (0, LEVELS))
    lost = squared_error(centres, counts, low, high)
    return 10 * math.log10(float(counts @ centres**2) / lost) if lost else math.inf


def clipped(
    histogram: Histogram, search: Callable[..., tuple[float, float]]
) -> tuple[float, float]:
    """The range that a search over what was seen finds."""
    centres, counts = histogram.centres()
    if not len(counts):
        return histogram.minmax()
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    return search(centres, counts, low, high)


RULES: Mapping[str, Callable[[Histogram, float], tuple[float, float]]] = {
    "minmax": lambda histogram, _: histogram.minmax(),
    "percentile": lambda histogram, share: histogram.percentile(share),
    "mse": lambda histogram, _: clipped(histogram, least_squares),
    "kl": lambda histogram, _: clipped(histogram, least_divergent),
}
"""How wide a range is, by its name."""


def compiled() -> ModuleType:
    """The compiled loop; numba is loaded only when it is used."""
    return import_module("packlight.compression.grids.ranges_kernels")
