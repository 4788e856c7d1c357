"""Tests of the difference between two models on the same samples.

Only ``scipy.special`` is used: ``scipy.stats`` takes long to load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.05
"""Level of tests, and probability outside a 95 % interval."""

LEAST_SAMPLES = 2
"""Samples that a variance needs."""

NOISE = 1e-12
"""Variance that counts as none, relative to the mean square."""

TINY = 1e-300


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p of a split at least as uneven of the samples whose outcome changed.

    Under the null hypothesis each of ``lost + won`` changes is a loss with probability 1/2. The
    exact test never exceeds its level; its mid-p variant rejects more often where few samples
    changed, but at times slightly exceeds the level.

    Source: McNemar, Psychometrika 12 (1947); comparison of exact and mid-p: Fagerland, Lydersen and
    Laake, BMC Medical Research Methodology 13:91 (2013).

    >>> mcnemar(5, 0), mcnemar(0, 0)
    (0.0625, 1.0)
    """
    from scipy.special import bdtr  # noqa: PLC0415  loaded where it is used

    if not lost + won:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(lost, won), lost + won, 0.5)))


def clustered_mcnemar(changes: Floats) -> float:
    """Two-sided p that changes (n,), won minus lost within each sample, have mean 0.

    The decisions of a sample depend on each other, so pairs of decisions may not count as samples.

    Source: Durkalski, Palesch, Lipsitz and Rust, Statistics in Medicine 22 (2003), eq. 4.
    """
    from scipy.special import ndtr  # noqa: PLC0415

    squares = float(np.square(changes).sum())
    if not squares:
        return 1.0
    return float(2 * ndtr(-abs(changes.sum()) / math.sqrt(squares)))


def paired_t(differences: Floats) -> float:
    """Two-sided p that differences (n,) have mean 0 (Student's t)."""
    from scipy.special import stdtr  # noqa: PLC0415

    n = len(differences)
    if n < LEAST_SAMPLES or not differences.any():
        return 1.0
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return 0.0
    return float(2 * stdtr(n - 1, -abs(float(differences.mean())) / error))


def paired_interval(values: Floats) -> float:
    """Half the width of the 95 % interval of the mean of values (n,), by Student's t."""
    from scipy.special import stdtrit  # noqa: PLC0415

    n = len(values)
    if n < LEAST_SAMPLES:
        return math.inf
    return float(stdtrit(n - 1, 1 - LEVEL / 2) * values.std(ddof=1)) / math.sqrt(n)


class MeanDifference(NamedTuple):
    """A difference of means for each slice (...).

    Attributes:
        value: mean inside minus mean outside.
        half: half the width of its 95 % interval.
        score: the difference in standard errors.
        p: two-sided, that there is no difference.
    """

    value: Floats
    half: Floats
    score: Floats
    p: Floats


def mean_differences(counts: Floats, sums: Floats, squares: Floats) -> MeanDifference:
    """Difference of means inside and outside of each slice, by the weaker of two tests.

    Welch's test allows unequal variances: it does not mistake a group whose outcomes change often
    in both directions for one that loses. But where outcomes change rarely, a slice without any
    change seems to have no variance. Student's test pools the variance of all samples, which avoids
    that. A difference counts only if it is significant in both.

    Args:
        counts: samples inside and outside (2, ...).
        sums: of the values (2, ...).
        squares: sums of squared values (2, ...).

    Returns:
        Differences (...); p is 1 where one side has fewer than two samples, or where nothing varies
        and nothing differs.

    Source: Student, Biometrika 6 (1908); Welch, Biometrika 34 (1947), with Satterthwaite's degrees
    of freedom.
    """
    n = np.maximum(counts, LEAST_SAMPLES)
    means = sums / np.maximum(counts, 1)
    variances = np.maximum(squares - n * np.square(means), 0) / (n - 1)
    noise = NOISE * np.maximum((squares / n).max(axis=0), TINY)
    gap = np.where((counts < LEAST_SAMPLES).any(axis=0), 0.0, means[0] - means[1])
    squared_errors = variances / n
    freedom = np.square(squared_errors.sum(axis=0)) / np.maximum(
        (np.square(squared_errors) / (n - 1)).sum(axis=0), TINY
    )
    pooled = (variances * (n - 1)).sum(axis=0) / (n.sum(axis=0) - 2)
    welch = _t_test(gap, squared_errors.sum(axis=0), freedom, noise)
    student = _t_test(gap, pooled * (1 / n).sum(axis=0), n.sum(axis=0) - 2, noise)
    weaker = np.abs(student.score) < np.abs(welch.score)
    score = np.where(weaker, student.score, welch.score)
    half = np.maximum(student.half, welch.half)
    return MeanDifference(gap, half, score, np.maximum(student.p, welch.p))


def _t_test(gap: Floats, variance: Floats, freedom: Floats, noise: Floats) -> MeanDifference:
    """Differences with their variances (...), by Student's distribution."""
    from scipy.special import stdtr, stdtrit  # noqa: PLC0415

    flat = variance <= noise
    error = np.sqrt(np.where(flat, noise, variance))
    degrees = np.where(flat, 1, np.maximum(freedom, 1))
    score = np.where(flat & (np.square(gap) <= noise), 0.0, gap / error)
    return MeanDifference(gap, stdtrit(degrees, 1 - LEVEL / 2) * error, score,
               np.where(score == 0, 1.0, 2 * stdtr(degrees, -np.abs(score))))  # fmt: skip


def slice_sums(values: Floats, inside: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Counts, sums and sums of squares inside and outside of slices, for ``mean_differences``.

    Args:
        values: one for each sample (n,).
        inside: mask of the samples of each slice (n, slices).

    Returns:
        Each (2, slices).
    """
    chosen = inside.astype(np.float64)
    table = np.stack([np.ones(len(values)), values, np.square(values)])
    within = table @ chosen
    outside = table.sum(axis=1, keepdims=True) - within
    counts, sums, squares = np.stack([within, outside], axis=1)
    return counts, sums, squares


def benjamini_hochberg(p: Sequence[float] | Floats) -> Floats:
    """Adjusted p: of those at most q, the expected share of false ones is at most q.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995).

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum.accumulate(np.minimum(scaled, 1)[::-1])[::-1]
    return adjusted


def sidak_width(count: int) -> float:
    """Standard errors of ``count`` intervals that hold simultaneously in 95 % of cases.

    Exact for independent intervals, such as those of the groups of one column; conservative for
    dependent normal ones.

    Source: Sidak, Journal of the American Statistical Association 62 (1967).

    >>> round(sidak_width(1), 3), round(sidak_width(10), 3)
    (1.96, 2.8)
    """
    from scipy.special import ndtri  # noqa: PLC0415

    return float(ndtri((1 + (1 - LEVEL) ** (1 / max(count, 1))) / 2))
