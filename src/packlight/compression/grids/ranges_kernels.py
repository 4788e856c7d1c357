"""Compiled inner loop of histograms; see ``ranges``."""

from __future__ import annotations

import numpy as np

from packlight.compression.compiled import compiled

TOLERANCE = np.float32(1e-3)


@compiled(nogil=True)
def count(flat, reach, counts):
    """Count numbers in equal bins from ``-reach`` to ``reach``.

    Args:
        flat: finite numbers (n,), none beyond the bins.
        reach: where the last bin ends, which belongs to it.
        counts: (bins,), added to.

    Returns:
        Number of zeros, and of numbers more than a thousandth off an integer.
    """
    bins = counts.shape[0]
    zeros = 0
    fractional = 0
    bins_per_unit = bins / (2 * reach)
    for i in range(flat.shape[0]):
        index = int((np.float64(flat[i]) + reach) * bins_per_unit)
        counts[min(index, bins - 1)] += 1
        zeros += flat[i] == 0
        fractional += abs(flat[i] - np.rint(flat[i])) > TOLERANCE
    return zeros, fractional
