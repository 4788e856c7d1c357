"""Compiled inner loop of histograms; see ``ranges``."""

from __future__ import annotations

import numpy as np
from numba import njit

WHOLE = np.float32(1e-3)


@njit(cache=True, nogil=True)
def count(flat, reach, counts):
    """Count numbers in equal bins from ``-reach`` to ``reach``.

    Args:
        flat: finite numbers (n,), none beyond the bins.
        reach: where the last bin ends, which belongs to it.
        counts: (bins,), added to.

    Returns:
        How many were zero, and how many not within a thousandth of a whole number.
    """
    bins, zeros, broken = counts.shape[0], 0, 0
    each = bins / (2 * reach)
    for i in range(flat.shape[0]):
        place = int((np.float64(flat[i]) + reach) * each)
        counts[min(place, bins - 1)] += 1
        zeros += flat[i] == 0
        broken += abs(flat[i] - np.rint(flat[i])) > WHOLE
    return zeros, broken
