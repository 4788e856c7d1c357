"""Shifts of confidence, of the spread of errors, and of the neighbors of embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from packlight.metrics import Metric, Rows, ratio
from packlight.metrics.intervals import (
    bootstrap_sums,
    bootstrap_totals,
    draw_counts,
    is_share,
    percentile_interval,
)
from packlight.metrics.paired import drop, measure
from packlight.metrics.probabilities import calibration_error
from packlight.metrics.values import root_ratio
from packlight.records import Measurement, Shift
from packlight.records.measurement import Unit
from packlight.task import SampleTable

UNITS: Mapping[str, Unit] = {"nll": "nat"}
DRAWS = 300
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
PAIR = 2


def level(metric: Metric, before: Rows, after: Rows, seed: int) -> dict[str, Shift]:
    """The metric of both models, and for a loss of tokens the perplexity, its exponential.

    Args:
        metric: of the task.
        before: rows (n, k) of the reference.
        after: rows (n, k) of the variant.
        seed: of the draws.
    """
    was = measure(metric, before, seed)
    now = measure(metric, after, seed)
    if is_share(metric, before, after):
        loss, _ = drop(metric, before, after, seed)
        if metric.higher_is_better:
            loss = _negated(loss)
        return {metric.name: Shift(was, now, loss)}
    values = np.array([was.value, now.value])
    drawn = np.stack(bootstrap_totals(metric, [before, after], seed), axis=1)
    n = len(before)
    levels = {metric.name: shift(values, drawn, metric.unit, n)}
    if metric.name == LOSS:
        levels["perplexity"] = shift(np.exp(values), np.exp(drawn), "1", n)
    return levels


LOSS = "nll"
"""Name of the metric whose exponential is called perplexity."""


def _negated(m: Measurement) -> Measurement:
    return Measurement(0.0 - m.value, m.unit, 0.0 - m.high, 0.0 - m.low, m.how, m.n)


def confidence(before: SampleTable, after: SampleTable, seed: int) -> dict[str, Shift]:
    """Confidence, likelihood, Brier score and calibration error of both, and their differences.

    Intervals come from resampling samples with all their decisions. Resampling itself adds to a
    calibration error, so its draws are shifted to have the measured value as their mean.
    """
    n = len(before.rows)
    if not before.confidence.any() or not after.confidence.any():
        return {}
    pairs = {"confidence": (before.confidence, after.confidence)}
    for name in ("nll", "brier"):
        if name in before.details and name in after.details:
            pairs[name] = before.details[name], after.details[name]
    shifts = _means(pairs, after.owner, n, seed)
    if "nll" in pairs:
        shifts["calibration_error"] = calibration(before, after, seed)
    return shifts


def _means(
    pairs: Mapping[str, tuple[Rows, Rows]], owner: NDArray[np.int64], n: int, seed: int
) -> dict[str, Shift]:
    """The mean over decisions (m,) of several numbers of both models."""
    columns = [values for pair in pairs.values() for values in pair] + [np.ones(len(owner))]
    rows = np.stack([np.bincount(owner, values, n) for values in columns], axis=1).astype(
        np.float64
    )
    drawn = bootstrap_sums(rows, seed)
    drawn = drawn[:, :-1] / np.maximum(drawn[:, -1:], 1)
    values = rows[:, :-1].sum(axis=0) / rows[:, -1].sum()
    m = len(owner)
    return {
        name: shift(values[2 * i : 2 * i + 2], drawn[:, 2 * i : 2 * i + 2], UNITS.get(name, "1"), m)
        for i, name in enumerate(pairs)
    }


def shift(values: Rows, drawn: Rows, unit: Unit, n: int) -> Shift:
    """Before, after and their difference, from values (2,) and draws of them (draws, 2)."""
    before = _with_interval(float(values[0]), drawn[:, 0], unit, n)
    after = _with_interval(float(values[1]), drawn[:, 1], unit, n)
    gap = _with_interval(float(values[1] - values[0]), drawn[:, 1] - drawn[:, 0], unit, n)
    return Shift(before, after, gap)


def _with_interval(value: float, drawn: Rows, unit: Unit, n: int) -> Measurement:
    low, high = percentile_interval(drawn)
    return Measurement(value, unit, min(low, value), max(high, value), "measured", n)


def calibration(before: SampleTable, after: SampleTable, seed: int) -> Shift:
    """Calibration error of both models, over the same draws of samples."""
    values = []
    drawn = []
    for table in (before, after):
        value, *_ = calibration_error(table.confidence, table.right)
        chunks = [
            calibration_error(table.confidence, table.right, counts[:, table.owner])
            for counts in draw_counts(len(table.rows), DRAWS, seed)
        ]
        resampled_errors = np.concatenate(chunks)
        values.append(value)
        drawn.append(resampled_errors - resampled_errors.mean() + value)
    return shift(np.array(values), np.stack(drawn, axis=1), "1", len(after.right))


def per_sample(metric: Metric, rows: Rows) -> Rows:
    """The metric of each sample (n,); empty where it is a share or no mean over samples."""
    if metric.formula not in (ratio, root_ratio) or rows.shape[1] != PAIR or is_share(metric, rows):
        return np.zeros(0)
    return np.asarray(metric.formula(rows))


def spread(metric: Metric, before: Rows, after: Rows, seed: int) -> dict[str, Shift]:
    """Quantiles of the metric over samples, for both models and their difference.

    Args:
        metric: of the task.
        before: of each sample (n,), by the reference.
        after: of each sample (n,), by the variant.
        seed: of the draws.
    """
    n = len(before)
    levels = np.array(list(QUANTILES.values()))
    if metric.higher_is_better is not False:
        levels = 1 - levels
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, n, (DRAWS, n))
    values = np.stack([np.quantile(scores, levels) for scores in (before, after)])
    drawn = np.stack([np.quantile(scores[samples], levels, axis=1) for scores in (before, after)])
    return {
        name: shift(values[:, i], drawn[:, i].T, metric.unit, n) for i, name in enumerate(QUANTILES)
    }


def neighbors(after: SampleTable, seed: int) -> dict[str, Measurement]:
    """Mean rank agreement of embeddings, over the samples whose vectors were compared."""
    agreement = {}
    for name in ("rank_agreement", "same_nearest"):
        if name in after.samples:
            values = after.samples[name][~np.isnan(after.samples[name])]
            sums = bootstrap_sums(values[:, None], seed)[:, 0] / len(values)
            agreement[name] = _with_interval(float(values.mean()), sums, "1", len(values))
    return agreement
