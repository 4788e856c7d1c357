"""Intervals for what is measured run after run, where neighbours in time resemble each other.

Source: the circular block bootstrap of Politis and Romano (1992). With few blocks percentiles are
too narrow; they are stretched about the estimate as Student's t is wider than the normal
distribution, with one degree of freedom less than there are blocks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from packlight.records.measurement import Measurement, Unit

RESAMPLES = 1000
TAIL = 0.025
"""Probability beyond each end of a 95 % interval."""


def block_length(runs: int) -> int:
    """Runs that are drawn together: long enough for neighbours that resemble each other."""
    return max(1, round(math.sqrt(runs)))


def resampled(runs: int, seed: int) -> NDArray[np.intp]:
    """Indices of resampled runs, (resamples, runs), drawn in blocks that wrap around."""
    length = block_length(runs)
    blocks = -(-runs // length)
    starts = np.random.default_rng(seed).integers(0, runs, (RESAMPLES, blocks))
    indices = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)
    return np.asarray(indices[:, :runs] % runs, dtype=np.intp)


def stretch(runs: int) -> float:
    """How much wider an interval is for resting on few blocks."""
    blocks = -(-runs // block_length(runs))
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415  scipy takes long to load

    return float(stdtrit(max(blocks - 1, 1), 1 - TAIL) / ndtri(1 - TAIL))


def measured(value: float, spread: NDArray[np.float64], unit: Unit, runs: int) -> Measurement:
    """A positive estimate with the 95 % interval that its resampled values give."""
    low, high = np.quantile(spread, [TAIL, 1 - TAIL])
    wide = stretch(runs)
    return Measurement(
        value,
        unit,
        max(0.0, min(value, value + wide * float(low - value))),
        max(value, value + wide * float(high - value)),
        "measured",
        runs,
    )
