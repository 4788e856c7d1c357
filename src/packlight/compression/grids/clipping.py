"""Clipping of activation ranges, by search over the counts of a histogram.

Both searches narrow one end of the widest range after the other, first coarsely, then finely.
Source: Banner et al., "Post Training 4-bit Quantization of Convolutional Networks" (NeurIPS 2019)
for the error of clipping and rounding; Migacz, "8-bit Inference with TensorRT" (GTC 2017) for the
divergence between the distributions of values and of their codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
LEVELS = 255
_STEPS = 16
"""Widths tried for each end at a time."""

_MIN_SHARE = 0.1
"""Share of an end that is kept at least."""

_MIN_PROBABILITY = 1e-9
"""Probability given to values that the grid cuts off, so that their divergence stays finite."""

_Cost = Callable[[Doubles, Doubles, float, float], float]


def _min_squared_error(
    centers: Doubles, counts: Doubles, low: float, high: float
) -> tuple[float, float]:
    """The range whose grid has the least squared error.

    Args:
        centers: values (n,), zeros left out.
        counts: how often each occurs (n,).
        low: least value, at most 0.
        high: largest value, at least 0.
    """
    return _narrow_range(_squared_error, centers, counts, (low, high))


def _min_divergence(
    centers: Doubles, counts: Doubles, low: float, high: float
) -> tuple[float, float]:
    """The range whose grid keeps the distribution of the values best (Kullback and Leibler)."""
    return _narrow_range(_divergence, centers, counts, (low, high))


def _narrow_range(
    cost: _Cost, centers: Doubles, counts: Doubles, widest: tuple[float, float]
) -> tuple[float, float]:
    """The best range within the widest: one end after the other, coarsely and then finely."""
    shares = [1.0, 1.0]
    for width in (1 - _MIN_SHARE, 1 - _MIN_SHARE, (1 - _MIN_SHARE) / _STEPS):
        for end in (0, 1):
            if widest[end]:
                candidates = [
                    [*shares[:end], share, *shares[end + 1 :]]
                    for share in _candidate_shares(shares[end], width)
                ]
                shares = min(
                    candidates, key=lambda c: cost(centers, counts, *_scaled_range(widest, c))
                )
    return _scaled_range(widest, shares)


def _scaled_range(widest: tuple[float, float], shares: Sequence[float]) -> tuple[float, float]:
    """The range with a share of each end."""
    return widest[0] * shares[0], widest[1] * shares[1]


def _candidate_shares(middle: float, width: float) -> list[float]:
    """Shares of an end around a middle, within what is allowed."""
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
