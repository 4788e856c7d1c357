"""Energies and ranges of values over samples, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from packlight.metrics.fidelity import CEILING, decibels
from packlight.records import Measurement
from packlight.records.measurement import Unit

Array = NDArray[np.generic]
Rows = NDArray[np.float64]

PARTS = 20
"""Groups of samples, assigned in turn, whose spread gives intervals."""

TAIL = 0.025
BLOCK = 1 << 20
"""Numbers of a large value that are processed together."""


class SignalNoise:
    """Signal and noise energies of one value, summed over calls.

    Attributes:
        energies: by group of samples, of the reference, of the variant's difference to it, and of
            the difference that its operator alone makes (PARTS, 3).
        outside: by group, numbers outside the reference's range so far, and all (PARTS, 2).
        reference: lowest and highest number of the reference.
        variant: lowest and highest number of the variant.
        reshaped: whether a shape ever differed; such calls are not counted.
        broken: numbers that are finite in the reference and not in the variant.
    """

    def __init__(self) -> None:
        self.energies = np.zeros((PARTS, 3))
        self.outside = np.zeros((PARTS, 2))
        self.reference = np.array([np.inf, -np.inf])
        self.variant = np.array([np.inf, -np.inf])
        self.reference = np.array([np.inf, -np.inf])
        self.variant = np.array([np.inf, -np.inf])
        self.reshaped = False
        self.broken = 0

    def add(self, sample: int, reference: Array, variant: Array, isolated: Array) -> None:
        """Add one call: the reference's value, the variant's, and that of its operator alone."""
        if not reference.shape == variant.shape == isolated.shape:
            self.reshaped = True
            return
        exact = reference.reshape(-1)
        actual = variant.reshape(-1)
        local = isolated.reshape(-1)
        if exact.size:
            _widen(self.reference, exact)
        for start in range(0, exact.size, BLOCK):
            piece = slice(start, start + BLOCK)
            self.add_block(sample % PARTS, exact[piece], actual[piece], local[piece])

    def add_block(self, part: int, reference: Array, actual: Array, local: Array) -> None:
        """Add numbers of one call, (n,) each."""
        exact = reference.astype(np.float64)
        invalid = np.isfinite(exact) & ~np.isfinite(actual)
        self.broken += int(np.count_nonzero(invalid))
        noise = difference(actual.astype(np.float64), exact)
        local_noise = difference(local.astype(np.float64), exact)
        self.energies[part] += [exact @ exact, noise @ noise, local_noise @ local_noise]
        low, high = self.reference
        beyond = np.count_nonzero((actual < low) | (actual > high) | invalid)
        self.outside[part] += [beyond, exact.size]
        finite = actual[np.isfinite(actual)]
        if finite.size:
            _widen(self.variant, finite)

    def snr(self, column: int) -> Measurement:
        """Signal-to-noise ratio of a column of the energies, in dB."""
        sums = self.energies[:, [0, column]]
        return _jackknifed(sums[sums.sum(axis=1) > 0], decibels, "dB")

    def local_noise(self) -> float:
        """Energy of the operator's own error relative to the signal."""
        signal, _, noise = self.energies.sum(axis=0)
        return float(noise / signal) if signal else 0.0

    def outside_share(self) -> Measurement:
        """Share of the variant's numbers outside the range."""
        return _jackknifed(self.outside[self.outside[:, 1] > 0], _ratio, "1")


def difference(actual: Rows, exact: Rows) -> Rows:
    """Noise: actual minus exact; a number that is not finite loses all of its signal."""
    with np.errstate(invalid="ignore"):
        noise = np.asarray(actual - exact)
    invalid = ~np.isfinite(noise)
    noise[invalid] = np.where(np.isfinite(exact[invalid]), exact[invalid], 0.0)
    return noise


def _widen(range_: Rows, numbers: Array) -> None:
    range_[0] = min(range_[0], float(numbers.min()))
    range_[1] = max(range_[1], float(numbers.max()))


def _ratio(sums: Rows) -> Rows:
    return np.asarray(sums[..., 0] / sums[..., 1])


def _jackknifed(sums: Rows, score: Callable[[Rows], Rows], unit: Unit) -> Measurement:
    """Estimate a function of sums, with the delete-a-group interval.

    Source: the delete-a-group jackknife, Kott, Journal of Official Statistics 17 (2001).
    """
    groups = len(sums)
    if not groups:
        return Measurement(CEILING if unit == "dB" else 0.0, unit, 0.0, 0.0, "counted", 0)
    value = float(score(sums.sum(axis=0)))
    if groups == 1:
        return Measurement(value, unit, value, value, "measured", 1)
    without = np.array([float(score(sums.sum(axis=0) - group)) for group in sums])
    error = np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum())
    half = float(stdtrit(groups - 1, 1 - TAIL) * error)
    return Measurement(value, unit, value - half, value + half, "measured", groups)
