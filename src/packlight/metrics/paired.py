"""Two models on the same samples: the drop, its interval, and the contribution of each sample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError, UndefinedError
from packlight.metrics.intervals import (
    Z,
    bootstrap_sums,
    bootstrap_totals,
    is_share,
    percentile_interval,
    tango_interval,
    wilson_interval,
)
from packlight.metrics.metric import Metric, Rows, Truths, ratio
from packlight.metrics.significance import mcnemar, paired_t
from packlight.records.measurement import Measurement

POWER = 1.959963984540054 + 0.8416212335729143
"""Standard errors of the minimum detectable difference: 5 % two-sided, power 80 %."""

RULE_OF_THREE = 3.0
SMALLEST_GROUP = 30
"""Samples below which a group's drop is shown but not judged."""

STEP = 1e-5
"""Relative step of numeric derivatives."""

COLUMNS = 64
"""Columns whose derivatives are computed at once."""


def measure(metric: Metric, rows: Rows, seed: int) -> Measurement:
    """A metric over rows (n, k), with its interval."""
    value = metric.total(rows)
    if not np.isfinite(value):
        raise TaskError(f"metric '{metric.name}' must give a finite number; it gives {value}")
    if is_share(metric, rows):
        low, high = wilson_interval(float(rows[:, 0].sum()), len(rows))
    else:
        low, high = percentile_interval(bootstrap_totals(metric, [rows], seed)[0])
    return Measurement(
        value, metric.unit, min(low, value), max(high, value), "measured", len(rows)
    )  # fmt: skip


def drop(metric: Metric, before: Rows, after: Rows, seed: int) -> tuple[Measurement, float]:
    """The paired drop from ``before`` to ``after``, and the minimum detectable drop.

    In absolute points where the metric is bounded, else as a share of the reference.

    The second number is ``(1.96 + 0.84) * se`` with the standard error ``se`` of the paired
    difference: a power of 80 % (normal approximation; Cohen, Statistical Power Analysis, 1988,
    ch. 2). Shares of right decisions have a floor of 3 / n: a change that n samples do not show can
    still be that frequent (rule of three; Hanley and Lippman-Hand, JAMA 1983). It is 0, unknown,
    for other metrics where no sample differs: nothing says how far they could spread.
    """
    n = len(before)
    reference = metric.total(before)
    scale = drop_scale(metric, reference)
    value = metric.worsening(reference, metric.total(after)) / scale
    floor = RULE_OF_THREE / n
    if is_share(metric, before, after):
        low, high = tango_interval(*_changed_counts(metric, before, after), n)
        loss = Measurement(value, "1", min(low, value), max(high, value), "measured", n)
        spread = float((before[:, 0] - after[:, 0]).std())
        return loss, max(POWER * spread / np.sqrt(n), floor)
    drawn = resampled_drops(metric, before, after, seed, scale)
    low, high = percentile_interval(drawn)
    loss = Measurement(value, "1", min(low, value), max(high, value), "measured", n)
    if np.array_equal(before, after):
        counts_decisions = metric.bounded and metric.decide is not None
        return loss, floor if counts_decisions else 0.0
    return loss, POWER * float(np.nanstd(drawn))


def _changed_counts(metric: Metric, before: Rows, after: Rows) -> tuple[int, int]:
    change = before[:, 0] - after[:, 0]
    decreased = int((change > 0).sum())
    increased = int((change < 0).sum())
    if metric.higher_is_better:
        return decreased, increased
    return increased, decreased


def drop_test(metric: Metric, before: Rows, after: Rows, loss: Measurement) -> tuple[float, str]:
    """Two-sided p of no drop, and the name of the test."""
    if is_share(metric, before, after):
        return mcnemar(*_changed_counts(metric, before, after)), "exact McNemar test"
    if metric.formula is not None:
        return paired_t(contributions(metric, before, after)), "paired t test"
    error = (loss.high - loss.low) / (2 * Z)
    if not error:
        return float(loss.value == 0), "bootstrap, as if normal"
    return math.erfc(abs(loss.value) / error / math.sqrt(2)), "bootstrap, as if normal"


def decision_rate(flags: Truths, owner: NDArray[np.int64], samples: int, seed: int) -> Measurement:
    """Share of flagged decisions (m,).

    The interval is Wilson's where each sample is one decision; else it is a bootstrap over samples,
    since the decisions within a sample depend on each other. Without any flag it is Wilson's of the
    samples.

    Args:
        flags: of each decision (m,).
        owner: sample of each (m,).
        samples: number of samples.
        seed: of the draws.
    """
    n = len(flags)
    value = float(flags.mean())
    if n == samples or not flags.any():
        low, high = wilson_interval(float(flags.sum()), samples)
    else:
        counts = np.stack([
            np.bincount(owner, flags, samples), np.bincount(owner, minlength=samples)
        ], axis=1)  # fmt: skip
        low, high = percentile_interval(ratio(bootstrap_sums(counts.astype(np.float64), seed)))
    return Measurement(value, "1", min(low, value), max(high, value), "measured", n)


def widen(
    metric: Metric, before: Rows, after: Rows, loss: Measurement, score: float
) -> Measurement:
    """A drop with an interval of ``score`` standard errors instead of 1.96.

    Intervals of shares are recomputed, those of all further metrics stretched about the value.
    """
    if is_share(metric, before, after):
        low, high = tango_interval(*_changed_counts(metric, before, after), len(before), score)
    else:
        low, high = (loss.value + score / Z * (end - loss.value) for end in (loss.low, loss.high))
    return Measurement(
        loss.value, loss.unit, min(low, loss.low), max(high, loss.high), loss.how, loss.n
    )  # fmt: skip


def drop_scale(metric: Metric, reference: float) -> float:
    """Divisor that turns a difference into a drop.

    Raises:
        UndefinedError: the drop would be relative to zero.
    """
    if metric.bounded:
        return 1.0
    if reference == 0:
        raise UndefinedError(
            f"a drop of '{metric.name}' is relative to the reference, which has exactly 0; "
            "use a metric in [0, 1] (bounded), whose drops are absolute"
        )
    return abs(reference)


def resampled_drops(metric: Metric, before: Rows, after: Rows, seed: int, scale: float) -> Rows:
    """Drops over the same draws of samples from ``before`` and ``after`` (draws,)."""
    first, second = bootstrap_totals(metric, [before, after], seed)
    worse = first - second
    if not metric.higher_is_better:
        worse = -worse
    if metric.bounded:
        return worse
    return np.asarray(worse / np.where(first == 0, scale, np.abs(first)))


def contributions(metric: Metric, before: Rows, after: Rows) -> Rows:
    """Contribution of each sample to the drop (n,), which is their mean.

    For a mean over samples it is the sample's difference, over the reference's mean where the
    metric is not bounded; for other functions of sums the linear part of its influence.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 21, influence.

    Raises:
        ValueError: the metric is not a function of sums.
    """
    first = metric.total(before)
    scale = drop_scale(metric, first)
    value = metric.worsening(first, metric.total(after)) / scale
    reference_influence = _influence(metric, before)
    linear = reference_influence - _influence(metric, after)
    if not metric.higher_is_better:
        linear = -linear
    if not metric.bounded:
        linear = linear - value * np.sign(first) * reference_influence
    return np.asarray(value + linear / scale)


def _influence(metric: Metric, rows: Rows) -> Rows:
    """Derivative of a metric by the weight of each sample (n,), 0 in the mean."""
    if metric.formula is None:
        raise ValueError(f"'{metric.name}' is no function of sums")
    sums = rows.sum(axis=0)
    steps = STEP * np.maximum(np.abs(sums), np.abs(rows).mean(axis=0) + STEP)
    slopes = np.concatenate([
        _derivatives(metric, sums, steps, range(start, min(start + COLUMNS, len(sums))))
        for start in range(0, len(sums), COLUMNS)
    ])  # fmt: skip
    pull = rows @ slopes
    return np.asarray(len(rows) * (pull - pull.mean()))


def _derivatives(metric: Metric, sums: Rows, steps: Rows, columns: range) -> Rows:
    assert metric.formula is not None
    moved = np.zeros((len(columns), len(sums)))
    moved[np.arange(len(columns)), list(columns)] = steps[list(columns)]
    change = metric.formula(sums + moved) - metric.formula(sums - moved)
    return np.asarray(change / (2 * steps[list(columns)]))
