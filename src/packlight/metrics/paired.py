"""Two models on the same samples: the drop, its interval, and each sample's part in it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.intervals import (
    Z,
    is_share,
    matched,
    percentiles,
    resampled,
    resampled_sums,
    share,
)
from packlight.metrics.metric import Metric, Rows, Truths, ratio
from packlight.metrics.significance import mcnemar, paired_t
from packlight.records.measurement import Measurement

POWER = 1.959963984540054 + 0.8416212335729143
"""Standard errors that a difference must have to be told from none: 5 % two-sided, power 80 %."""

RULE_OF_THREE = 3.0
SMALLEST_GROUP = 30
"""Samples below which a group's drop is shown but never judged."""

STEP = 1e-5
"""Relative step of numeric derivatives."""

COLUMNS = 64
"""Of which derivatives are taken at once."""


def measure(metric: Metric, rows: Rows, seed: int) -> Measurement:
    """A metric over rows (n, k), with its interval."""
    value = metric.total(rows)
    if not np.isfinite(value):
        raise TaskError(f"metric '{metric.name}' must give a finite number; it gives {value}")
    if is_share(metric, rows):
        low, high = share(float(rows[:, 0].sum()), len(rows))
    else:
        low, high = percentiles(resampled(metric, [rows], seed)[0])
    return Measurement(
        value, metric.unit, min(low, value), max(high, value), "measured", len(rows)
    )  # fmt: skip


def drop(metric: Metric, before: Rows, after: Rows, seed: int) -> tuple[Measurement, float]:
    """How much worse ``after`` is, paired, and the smallest drop that can be told from none.

    In absolute points where the metric is bounded, else as a share of the reference.

    The second number is ``(1.96 + 0.84) * se`` with the standard error ``se`` of the paired
    difference: a true drop of this size is found in 4 of 5 test sets (normal approximation; Cohen,
    Statistical Power Analysis, 1988, ch. 2). Shares, and samples that do not differ at all, have a
    floor of 3 / n: a change of which n samples show none can still be that frequent (rule of three;
    Hanley and Lippman-Hand, JAMA 1983).
    """
    n = len(before)
    first, second = metric.total(before), metric.total(after)
    scale = drop_scale(metric, first)
    value = metric.worsening(first, second) / scale
    floor = RULE_OF_THREE / n
    if is_share(metric, before, after):
        low, high = matched(*swaps(metric, before, after), n)
        found = Measurement(value, "1", min(low, value), max(high, value), "measured", n)
        spread = float((before[:, 0] - after[:, 0]).std())
        return found, max(POWER * spread / np.sqrt(n), floor)
    drawn = resampled_drops(metric, before, after, seed, scale)
    low, high = percentiles(drawn)
    same = np.array_equal(before, after)
    found = Measurement(value, "1", min(low, value), max(high, value), "measured", n)
    return found, floor if same else POWER * float(drawn.std())


def swaps(metric: Metric, before: Rows, after: Rows) -> tuple[int, int]:
    """Of a share: samples that are worse, and samples that are better."""
    change = (before[:, 0] - after[:, 0]) * (1 if metric.higher_is_better else -1)
    return int((change > 0).sum()), int((change < 0).sum())


def drop_test(metric: Metric, before: Rows, after: Rows, loss: Measurement) -> tuple[float, str]:
    """Two-sided p that there is no drop, and the test that gave it."""
    if is_share(metric, before, after):
        return mcnemar(*swaps(metric, before, after)), "exact McNemar test"
    if metric.formula is not None:
        return paired_t(contributions(metric, before, after)), "paired t test"
    error = (loss.high - loss.low) / (2 * Z)
    away = abs(loss.value) / error if error else math.inf * bool(loss.value)
    return math.erfc(away / math.sqrt(2)), "bootstrap, as if normal"


def rate(flags: Truths, owner: NDArray[np.int64], samples: int, seed: int) -> Measurement:
    """Share of decisions (m,) of which something is true.

    The interval is Wilson's where each sample is one decision; else samples are drawn again with
    all their decisions, since the decisions within a sample depend on each other. Where it is true
    of none it is Wilson's of the samples.

    Args:
        flags: of each decision (m,).
        owner: sample of each (m,).
        samples: how many there are.
        seed: of the draws.
    """
    n, value = len(flags), float(flags.mean())
    if n == samples or not flags.any():
        low, high = share(float(flags.sum()), samples)
    else:
        counts = np.stack([
            np.bincount(owner, flags, samples), np.bincount(owner, minlength=samples)
        ], axis=1)  # fmt: skip
        low, high = percentiles(ratio(resampled_sums(counts.astype(np.float64), seed)))
    return Measurement(value, "1", min(low, value), max(high, value), "measured", n)


def widened(
    metric: Metric, before: Rows, after: Rows, loss: Measurement, score: float
) -> Measurement:
    """A drop with an interval of so many standard errors instead of 1.96.

    Of shares it is computed anew; other intervals are stretched about the value.
    """
    if is_share(metric, before, after):
        low, high = matched(*swaps(metric, before, after), len(before), score)
    else:
        low, high = (loss.value + score / Z * (end - loss.value) for end in (loss.low, loss.high))
    return Measurement(
        loss.value, loss.unit, min(low, loss.low), max(high, loss.high), loss.how, loss.n
    )  # fmt: skip


def drop_scale(metric: Metric, reference: float) -> float:
    """What a difference is divided by to be a drop.

    Raises:
        TaskError: the drop would be relative to zero.
    """
    if metric.bounded:
        return 1.0
    if reference == 0:
        raise TaskError(
            f"a drop of '{metric.name}' is told relative to the reference, which has exactly 0; "
            "use a metric in [0, 1] (bounded), whose drops are absolute"
        )
    return abs(reference)


def resampled_drops(metric: Metric, before: Rows, after: Rows, seed: int, scale: float) -> Rows:
    """Drops over the same draws of samples from both (draws,)."""
    first, second = resampled(metric, [before, after], seed)
    worse = first - second if metric.higher_is_better else second - first
    if metric.bounded:
        return worse
    return np.asarray(worse / np.where(first == 0, scale, np.abs(first)))


def contributions(metric: Metric, before: Rows, after: Rows) -> Rows:
    """Each sample's part in the drop (n,), of which the drop is the mean.

    For a mean over samples it is the sample's own difference, over the reference's mean where the
    metric is not bounded; for other functions of sums the linear part of its influence.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 21, influence.

    Raises:
        ValueError: the metric is not a function of sums.
    """
    first = metric.total(before)
    scale = drop_scale(metric, first)
    value = metric.worsening(first, metric.total(after)) / scale
    own, other = influence(metric, before), influence(metric, after)
    worse = own - other if metric.higher_is_better else other - own
    linear = worse if metric.bounded else worse - value * np.sign(first) * own
    return np.asarray(value + linear / scale)


def influence(metric: Metric, rows: Rows) -> Rows:
    """How a metric changes with the weight of each sample (n,), 0 in the mean."""
    if metric.formula is None:
        raise ValueError(f"'{metric.name}' is no function of sums")
    sums = rows.sum(axis=0)
    steps = STEP * np.maximum(np.abs(sums), np.abs(rows).mean(axis=0) + STEP)
    slopes = np.concatenate([
        slope(metric, sums, steps, range(start, min(start + COLUMNS, len(sums))))
        for start in range(0, len(sums), COLUMNS)
    ])  # fmt: skip
    pull = rows @ slopes
    return np.asarray(len(rows) * (pull - pull.mean()))


def slope(metric: Metric, sums: Rows, steps: Rows, columns: range) -> Rows:
    """Derivatives of a metric's formula by some of the sums, by central differences."""
    assert metric.formula is not None
    moved = np.zeros((len(columns), len(sums)))
    moved[np.arange(len(columns)), list(columns)] = steps[list(columns)]
    up, down = metric.formula(sums + moved), metric.formula(sums - moved)
    return np.asarray((up - down) / (2 * steps[list(columns)]))
