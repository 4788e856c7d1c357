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
"""Groups of samples, taken in turns, whose spread gives intervals."""

TAIL = 0.025
BLOCK = 1 << 20
"""Numbers of a large value that are looked at together."""


class Moments:
    """What two or three versions of one value have in common, summed over calls.

    Attributes:
        energies: by group of samples, of the reference, of the variant's difference to it, and of
            the difference that its operators alone make (PARTS, 3).
        outside: by group, numbers outside the reference's range so far, and all (PARTS, 2).
        reference: lowest and highest number of the reference.
        variant: lowest and highest number of the variant.
        reshaped: whether a shape ever differed; such calls are not counted.
        broken: numbers of the variant that were not finite where the reference's were.
    """

    def __init__(self) -> None:
        self.energies = np.zeros((PARTS, 3))
        self.outside = np.zeros((PARTS, 2))
        self.reference = np.array([np.inf, -np.inf])
        self.variant = np.array([np.inf, -np.inf])
        self.reshaped = False
        self.broken = 0

    def add(self, sample: int, wanted: Array, found: Array, own: Array) -> None:
        """Take in one call: the reference's value, the variant's, and that of its operators."""
        if not wanted.shape == found.shape == own.shape:
            self.reshaped = True
            return
        part = sample % PARTS
        ours, theirs, alone = (array.reshape(-1) for array in (wanted, found, own))
        if ours.size:
            widen(self.reference, ours)
        for start in range(0, ours.size, BLOCK):
            piece = slice(start, start + BLOCK)
            self.take(part, ours[piece], theirs[piece], alone[piece])

    def take(self, part: int, ours: Array, theirs: Array, alone: Array) -> None:
        """Add numbers of one call, (n,) each."""
        exact = ours.astype(np.float64)
        lost = np.isfinite(exact) & ~np.isfinite(theirs)
        self.broken += int(np.count_nonzero(lost))
        noise, own = (difference(side.astype(np.float64), exact) for side in (theirs, alone))
        self.energies[part] += [exact @ exact, noise @ noise, own @ own]
        low, high = self.reference
        beyond = np.count_nonzero((theirs < low) | (theirs > high) | lost)
        self.outside[part] += [beyond, ours.size]
        whole = theirs[np.isfinite(theirs)]
        if whole.size:
            widen(self.variant, whole)

    def level(self, column: int) -> Measurement:
        """Signal over the noise in a column, in dB."""
        sums = self.energies[:, [0, column]]
        return jackknifed(sums[sums.sum(axis=1) > 0], decibels, "dB")

    def share(self) -> Measurement:
        """Share of the variant's numbers outside the range."""
        return jackknifed(self.outside[self.outside[:, 1] > 0], ratio, "1")


def difference(found: Rows, wanted: Rows) -> Rows:
    """What is found minus what is wanted; what is no number carries nothing of the signal."""
    with np.errstate(invalid="ignore"):
        noise = np.asarray(found - wanted)
    lost = ~np.isfinite(noise)
    noise[lost] = np.where(np.isfinite(wanted[lost]), wanted[lost], 0.0)
    return noise


def widen(range_: Rows, numbers: Array) -> None:
    """Let a range take in some numbers, in place."""
    range_[0] = min(range_[0], float(numbers.min()))
    range_[1] = max(range_[1], float(numbers.max()))


def ratio(sums: Rows) -> Rows:
    """The first of two sums over the second."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def jackknifed(sums: Rows, score: Callable[[Rows], Rows], unit: Unit) -> Measurement:
    """A function of sums, with the interval that leaving out one group at a time gives.

    Source: the delete-a-group jackknife, Kott, Journal of Official Statistics 17 (2001).
    """
    groups = len(sums)
    if not groups:
        return Measurement(CEILING if unit == "dB" else 0.0, unit, 0.0, 0.0, "counted", 0)
    value = float(score(sums.sum(axis=0)))
    if groups == 1:
        return Measurement(value, unit, value, value, "measured", 1)
    without = np.array([float(score(sums.sum(axis=0) - one)) for one in sums])
    error = np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum())
    half = float(stdtrit(groups - 1, 1 - TAIL) * error)
    return Measurement(value, unit, value - half, value + half, "measured", groups)
