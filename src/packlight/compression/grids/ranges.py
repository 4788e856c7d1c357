"""Observer and grids of activations: a histogram in one pass and constant memory.

Clipping narrows one end of the widest range after the other, first coarsely, then finely.
Source: Banner et al., "Post Training 4-bit Quantization of Convolutional Networks" (NeurIPS 2019)
for the error of clipping and rounding; Migacz, "8-bit Inference with TensorRT" (GTC 2017) for the
divergence between the distributions of values and of their codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packlight.compression.threads import load_kernels
from packlight.records.configs import ActivationRange

BINS = 4096
"""Even, so that zero is an edge. A percentile is known to 1 / 2048 of the widest value."""

LEVELS = 255
"""Integer steps of an 8-bit grid."""

MIDDLE_CODE = 127
MIDDLE_CODE_16 = 32767
"""Codes above the one in the middle, of 8 and 16 bits."""

_STEPS = 16
"""Widths tried for each end at a time."""

_MIN_SHARE = 0.1
"""Smallest share of an end of the range."""

_MIN_PROBABILITY = 1e-9
"""Probability of values that the grid cuts off, so that their divergence stays finite."""

Doubles = NDArray[np.float64]
_Cost = Callable[[Doubles, Doubles, float, float], float]
"""(centers of bins, counts, low, high) -> cost of the grid from low to high."""


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


class HistogramObserver:
    """Observer that counts values in equal bins around zero; bins widen by doubling.

    Two-sided, and independent of the order of the values up to the first bin width. Zeros are also
    counted separately, because they lie on every grid, and so are numbers that are not integers:
    where there are none, a grid of step 1 may hold all.
    """

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.reach = 0.0
        self.counts = np.zeros(BINS, np.int64)
        self.zeros = 0
        self.fractional = 0
        self.nonfinite = 0

    def update(self, value: NDArray[np.generic]) -> None:
        """Count the finite numbers of an array of any shape."""
        flat = np.asarray(value, np.float32).ravel()
        if not flat.size:
            return
        low = float(flat.min())
        high = float(flat.max())
        if not math.isfinite(low + high):
            finite = flat[np.isfinite(flat)]
            self.nonfinite += flat.size - finite.size
            self.update(finite)
            return
        self.low = min(self.low, low)
        self.high = max(self.high, high)
        self.widen(max(abs(self.low), abs(self.high)))
        zeros, fractional = _kernels().count(flat, self.reach, self.counts)
        self.zeros += zeros
        self.fractional += fractional

    def widen(self, reach: float) -> None:
        """Let the bins reach at least so far, merging neighbors around zero."""
        if self.reach == 0.0:
            self.reach = 2.0 ** math.ceil(math.log2(max(reach, 1e-30)))
        while self.reach < reach:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : BINS // 4 + BINS // 2] = pairs
            self.reach *= 2

    def minmax(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.low, self.high

    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins, (BINS + 1,)."""
        return np.linspace(-self.reach, self.reach, BINS + 1)

    def percentile(self, share: float) -> tuple[float, float]:
        """The range that holds this share, in percent, of the values on each side of it.

        Args:
            share: above 50, at most 100; the range leaves out 100 - share percent at each end.

        Returns:
            Edges of bins, never wider than the values.
        """
        total = int(self.counts.sum())
        outside = total * (1 - share / 100)
        edges = self.edges()
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, outside, side="right"))
        above = np.cumsum(self.counts[::-1])
        last = BINS - 1 - int(np.searchsorted(above, outside, side="right"))
        low = max(float(edges[first]), self.low)
        high = min(float(edges[last + 1]), self.high)
        return low, high

    def centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centers of the bins that hold any values, within their range, and the counts.

        Zeros are left out.
        """
        middle = (self.edges()[:-1] + self.edges()[1:]) / 2
        counts = self.counts.astype(np.float64)
        counts[BINS // 2] -= self.zeros
        filled = counts > 0
        return np.clip(middle[filled], self.low, self.high), counts[filled]

    def outside(self, low: float, high: float) -> float:
        """Share of the values that bins put below or above a range."""
        centers, counts = self.centers()
        total = float(counts.sum()) + self.zeros
        if not total:
            return 0.0
        return float(counts[(centers < low) | (centers > high)].sum()) / total


def affine_grid(
    histogram: HistogramObserver, rule: ActivationRange, share: float, *, symmetric: bool = False
) -> Affine:
    """The 8-bit grid for observed values; of step 1 where that holds all of them.

    Args:
        histogram: of the values.
        rule: how wide the range is.
        share: kept at each end, in percent, by the rule ``percentile``.
        symmetric: whether the code of 0.0 is to be the one in the middle.
    """
    if symmetric:
        reach = max(map(abs, RANGE_RULES[rule](histogram, share)))
        return Affine(float(np.float32(reach / MIDDLE_CODE)) or 1.0, MIDDLE_CODE + 1)
    low = min(round(histogram.low), 0)
    high = max(round(histogram.high), 0)
    if not histogram.fractional and high - low <= LEVELS:
        return Affine(1.0, -low)
    return grid_of_range(*RANGE_RULES[rule](histogram, share))


def grid_of_range(low: float, high: float, bits: Literal[8, 16] = 8) -> Affine:
    """The grid from one number to another, widened to hold 0."""
    low = min(low, 0.0)
    high = max(high, 0.0)
    steps = (1 << bits) - 1
    scale = float(np.float32((high - low) / steps)) or 1.0
    return Affine(scale, int(np.clip(round(-low / scale), 0, steps)), bits)


def wide_grid(histogram: HistogramObserver, *, symmetric: bool = False) -> Affine:
    """The 16-bit grid for all observed values."""
    low, high = histogram.minmax()
    if symmetric:
        reach = max(-low, high)
        return Affine(float(np.float32(reach / MIDDLE_CODE_16)) or 1.0, MIDDLE_CODE_16 + 1, 16)
    return grid_of_range(low, high, 16)


def grid_snr(histogram: HistogramObserver, grid: Affine) -> float:
    """Signal-to-noise ratio of an 8-bit grid on the observed values, in dB."""
    if grid.scale == 1.0 and not histogram.fractional:
        return math.inf
    centers, counts = histogram.centers()
    low, high = (float((code - grid.zero_point) * grid.scale) for code in (0, LEVELS))
    error = _squared_error(centers, counts, low, high)
    if not error:
        return math.inf
    return 10 * math.log10(float(counts @ centers**2) / error)


def _search_range(histogram: HistogramObserver, cost: _Cost) -> tuple[float, float]:
    """The range of least cost: one end after the other, coarsely and then finely."""
    centers, counts = histogram.centers()
    if not len(counts):
        return histogram.minmax()
    widest = (min(histogram.low, 0.0), max(histogram.high, 0.0))
    shares = (1.0, 1.0)

    def cost_of(shares: tuple[float, float]) -> float:
        return cost(centers, counts, widest[0] * shares[0], widest[1] * shares[1])

    for width in (1 - _MIN_SHARE, 1 - _MIN_SHARE, (1 - _MIN_SHARE) / _STEPS):
        if widest[0]:
            low_shares = _candidate_shares(shares[0], width)
            shares = min(((share, shares[1]) for share in low_shares), key=cost_of)
        if widest[1]:
            high_shares = _candidate_shares(shares[1], width)
            shares = min(((shares[0], share) for share in high_shares), key=cost_of)
    return widest[0] * shares[0], widest[1] * shares[1]


def _candidate_shares(middle: float, width: float) -> list[float]:
    """Shares of an end around a middle, within the bounds."""
    candidates = np.clip(middle + np.linspace(-width, width, 2 * _STEPS + 1), _MIN_SHARE, 1.0)
    return sorted(set(candidates.tolist()))


def _squared_error(centers: Doubles, counts: Doubles, low: float, high: float) -> float:
    """Squared error of a grid: a twelfth of its squared step, and the squared distance beyond."""
    step = (high - low) / LEVELS
    beyond = np.maximum(centers - high, 0.0) + np.maximum(low - centers, 0.0)
    return float(counts @ np.where(beyond > 0, beyond**2, step**2 / 12))


def _divergence(centers: Doubles, counts: Doubles, low: float, high: float) -> float:
    """Divergence of the values from their codes, each of which is spread evenly over its step.

    Values that are cut off join the ends of the range, as they do in the grid.
    """
    step = (high - low) / LEVELS or 1.0
    codes = np.clip(np.floor((centers - low) / step), 0, LEVELS - 1).astype(np.int64)
    inside = (centers >= low) & (centers <= high)
    within = np.bincount(codes[inside], counts[inside], LEVELS)
    bins = np.bincount(codes[inside], minlength=LEVELS)
    before = counts / counts.sum()
    after = np.where(inside, within[codes] / np.maximum(bins[codes], 1), 0.0)
    after = np.maximum(after / max(float(after.sum()), _MIN_PROBABILITY), _MIN_PROBABILITY)
    return float(before @ np.log(before / after))


RANGE_RULES: Mapping[str, Callable[[HistogramObserver, float], tuple[float, float]]] = {
    "minmax": lambda histogram, _: histogram.minmax(),
    "percentile": lambda histogram, share: histogram.percentile(share),
    "mse": lambda histogram, _: _search_range(histogram, _squared_error),
    "kl": lambda histogram, _: _search_range(histogram, _divergence),
}
"""Functions that choose the range of a grid, by the name of the rule."""


def _kernels() -> ModuleType:
    """The compiled loop; loads numba when it is first used."""
    return load_kernels("grids.ranges_kernels")
