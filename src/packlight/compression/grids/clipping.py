"""How much of a range of activations to cut off, from the counts of a histogram.

Both searches narrow one end of the widest range after the other, first coarsely, then finely.
Source: Banner et al., "Post Training 4-bit Quantization of Convolutional Networks" (NeurIPS 2019)
for what clipping and rounding cost; Migacz, "8-bit Inference with TensorRT" (GTC 2017) for the
divergence between what was seen and what a grid makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
LEVELS = 255
STEPS = 16
"""Widths tried for each end at a time."""

NARROWEST = 0.1
"""Share of an end that is kept at least."""

LEAST = 1e-9
"""Probability given to values that the grid cuts off, so that their divergence stays finite."""

Cost = Callable[[Doubles, Doubles, float, float], float]


def least_squares(
    centres: Doubles, counts: Doubles, low: float, high: float
) -> tuple[float, float]:
    """The range whose grid has the least squared error.

    Args:
        centres: values (n,), zeros left out.
        counts: how often each was seen (n,).
        low: least value, at most 0.
        high: largest value, at least 0.
    """
    return narrowed(squared_error, centres, counts, (low, high))


def least_divergent(
    centres: Doubles, counts: Doubles, low: float, high: float
) -> tuple[float, float]:
    """The range whose grid keeps the distribution of the values best (Kullback and Leibler)."""
    return narrowed(divergence, centres, counts, (low, high))


def narrowed(
    cost: Cost, centres: Doubles, counts: Doubles, widest: tuple[float, float]
) -> tuple[float, float]:
    """The best range within the widest: one end after the other, coarsely and then finely."""
    kept = [1.0, 1.0]
    for width in (1 - NARROWEST, 1 - NARROWEST, (1 - NARROWEST) / STEPS):
        for end in (0, 1):
            if widest[end]:
                tried = [
                    [*kept[:end], share, *kept[end + 1 :]] for share in shares(kept[end], width)
                ]
                kept = min(tried, key=lambda at: cost(centres, counts, *spread(widest, at)))
    return spread(widest, kept)


def spread(widest: tuple[float, float], kept: Sequence[float]) -> tuple[float, float]:
    """The range that keeps a share of each end."""
    return widest[0] * kept[0], widest[1] * kept[1]


def shares(middle: float, width: float) -> list[float]:
    """Shares of an end around one, within what is allowed."""
    tried = np.clip(middle + np.linspace(-width, width, 2 * STEPS + 1), NARROWEST, 1.0)
    return sorted(set(tried.tolist()))


def squared_error(centres: Doubles, counts: Doubles, low: float, high: float) -> float:
    """What a grid costs: a twelfth of its squared step within, the squared distance beyond."""
    step = (high - low) / LEVELS
    beyond = np.maximum(centres - high, 0.0) + np.maximum(low - centres, 0.0)
    return float(counts @ np.where(beyond > 0, beyond**2, step**2 / 12))


def divergence(centres: Doubles, counts: Doubles, low: float, high: float) -> float:
    """How much what was seen diverges from what a grid makes of it, spread evenly over each step.

    What is cut off joins the ends of what was seen, as it does in the grid.
    """
    step = (high - low) / LEVELS or 1.0
    places = np.clip(np.floor((centres - low) / step), 0, LEVELS - 1).astype(np.int64)
    inside = (centres >= low) & (centres <= high)
    within = np.bincount(places[inside], counts[inside], LEVELS)
    bins = np.bincount(places[inside], minlength=LEVELS)
    seen = counts / counts.sum()
    kept = np.where(inside, within[places] / np.maximum(bins[places], 1), 0.0)
    kept = np.maximum(kept / max(float(kept.sum()), LEAST), LEAST)
    return float(seen @ np.log(seen / kept))
