"""95 % intervals: by bootstrap, and in closed form for shares.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile interval; Wilson
(1927) for a share; Tango, Equivalence test and confidence interval for the difference in
proportions for the paired-sample design (1998) for two shares of the same samples. The last two do
not collapse to a point where no sample is wrong or none flips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from packlight.errors import UndefinedError
from packlight.metrics.metric import Metric, Rows, ratio

Z = 1.959963984540054
RESAMPLES = 1000
SLOW_RESAMPLES = 300
"""Resamples of a metric whose total is computed from all rows."""

CHUNK = 32
HALVINGS = 50

Interval = tuple[float, float]


def bootstrap_totals(metric: Metric, tables: Sequence[Rows], seed: int) -> list[Rows]:
    """Totals of each table (n, k) over the same draws of samples, with replacement.

    Returns:
        For each table its totals (draws,). Draw i takes the same samples from all tables; its total
        is NaN where the metric is undefined on them.
    """
    if metric.formula is None:
        return _resampled_totals(metric.total, tables, seed)
    sums = bootstrap_sums(np.hstack(tables), seed)
    parts = np.split(sums, np.cumsum([table.shape[1] for table in tables])[:-1], axis=1)
    return [metric.formula(part) for part in parts]


def bootstrap_sums(rows: Rows, seed: int) -> Rows:
    """Column sums (draws, k) of resampled rows (n, k)."""
    return np.vstack([counts @ rows for counts in draw_counts(len(rows), RESAMPLES, seed)])


def draw_counts(n: int, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Counts of each of n samples in each draw, in chunks (<= 32, n)."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        indices = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(indices.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _resampled_totals(
    total: Callable[[Rows], float], tables: Sequence[Rows], seed: int
) -> list[Rows]:
    n = len(tables[0])
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, n, n) for _ in range(SLOW_RESAMPLES)]
    return [np.array([_total_of_draw(total, table[index]) for index in draws]) for table in tables]


def _total_of_draw(total: Callable[[Rows], float], rows: Rows) -> float:
    """Total of resampled rows; NaN where they have none, such as an AUC without positives."""
    try:
        return total(rows)
    except UndefinedError:
        return math.nan


def percentile_interval(values: Rows) -> Interval:
    """The middle 95 % of values, without NaN."""
    low, high = np.percentile(values[~np.isnan(values)], (2.5, 97.5))
    return float(low), float(high)


def is_share(metric: Metric, *tables: Rows) -> bool:
    """Test whether a metric counts one yes or no for each sample in all of these rows."""
    counts = metric.formula is ratio and metric.bounded
    if metric.against == "reference" and metric.decide is None:
        counts = False  # a similarity, even where it happens to be 1 throughout
    return counts and all(
        bool(np.all(rows[:, 1] == 1) and np.isin(rows[:, 0], (0, 1)).all()) for rows in tables
    )


def wilson_interval(count: float, n: int) -> Interval:
    """Wilson's interval for ``count`` of n.

    >>> [round(end, 3) for end in wilson_interval(0, 100)]
    [0.0, 0.037]
    """
    value = count / n
    weight = Z**2 / n
    middle = (value + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(value * (1 - value) / n + weight / (4 * n))
    low = 0.0 if count == 0 else float(middle - half)
    high = 1.0 if count == n else float(middle + half)
    return low, high


def tango_interval(lost: int, won: int, n: int, score: float = Z) -> Interval:
    """Tango's score interval for (lost - won) / n, of n samples judged twice.

    Args:
        lost: samples right before and wrong now.
        won: the reverse.
        n: samples.
        score: standard errors to each side; 1.96 gives 95 %.

    >>> [round(end, 3) for end in tango_interval(0, 0, 100)]
    [-0.037, 0.037]
    """
    value = (lost - won) / n
    low = _score_bound(lost, won, n, (-1.0, value), score)
    return low, _score_bound(lost, won, n, (value, 1.0), -score)


def _score_bound(lost: int, won: int, n: int, between: Interval, score: float) -> float:
    """Difference whose score falls to ``score``, by bisection."""
    low, high = between
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _tango_score(lost, won, n, middle) > score:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _tango_score(lost: int, won: int, n: int, true: float) -> float:
    """Standard errors between the observed difference and a true one; decreasing in the latter."""
    gap = lost - won - n * true
    linear = (2 * n - lost + won) * true - lost - won
    root = math.sqrt(max(linear**2 + 8 * n * won * true * (1 - true), 0.0))
    rare = (root - linear) / (4 * n)
    variance = n * (2 * rare + true * (1 - true))
    if variance <= 0:
        if gap:
            return math.copysign(math.inf, gap)
        return 0.0
    return float(gap / math.sqrt(variance))
