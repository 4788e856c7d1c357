"""From tables of single samples to measurements with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics import METRICS, Metric, Rows, ratio
from packlight.metrics.intervals import (
    Interval,
    is_share,
    matched,
    percentiles,
    resampled,
    resampled_sums,
    share,
)  # fmt: skip
from packlight.records import Group, Measurement, counted
from packlight.task import SampleTable, Task

SMALLEST_GROUP = 30
"""Samples below which a group's drop is shown but never called the worst."""

POWER = 1.959963984540054 + 0.8416212335729143
"""Standard errors that a difference must have to be told from none: 5 % two-sided, power 80 %."""

RULE_OF_THREE = 3.0


def measure(metric: Metric, rows: Rows, seed: int) -> Measurement:
    """A metric over rows (n, k), with its interval."""
    value = metric.total(rows)
    if not np.isfinite(value):
        raise TaskError(f"metric '{metric.name}' must give a finite number; it gives {value}")
    if is_share(metric, rows):
        low, high = share(float(rows[:, 0].sum()), len(rows))
    else:
        low, high = percentiles(resampled(metric, [rows], seed)[0])
    return measured(value, (low, high), len(rows), metric)


def measured(value: float, interval: Interval, n: int, metric: Metric) -> Measurement:
    """A measured number whose interval holds it."""
    low, high = min(interval[0], value), max(interval[1], value)
    return Measurement(value, metric.unit, low, high, "measured", n)


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
        change = (before[:, 0] - after[:, 0]) * (1 if metric.higher_is_better else -1)
        interval = matched(int((change > 0).sum()), int((change < 0).sum()), n)
        found = Measurement(
            value, "1", min(interval[0], value), max(interval[1], value), "measured", n
        )
        return found, max(POWER * float(change.std()) / np.sqrt(n), floor)
    drawn = resampled_drops(metric, before, after, seed, scale)
    low, high = percentiles(drawn)
    spread = POWER * float(drawn.std())
    same = np.array_equal(before, after)
    return Measurement(value, "1", min(low, value), max(high, value), "measured", n), (
        floor if same else spread
    )


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


def paired_decisions(before: SampleTable, after: SampleTable) -> bool:
    """Whether there are decisions, and as many on each sample."""
    return bool(before.owner.size) and np.array_equal(before.owner, after.owner)


def flips(before: SampleTable, after: SampleTable, seed: int) -> Measurement:
    """Share of decisions that were right and are wrong now.

    Where the task has no targets, right means as the reference decides. The interval is Wilson's
    where each sample is one decision; else samples are drawn again with all their decisions, since
    the decisions within a sample depend on each other. Where none is lost it is Wilson's of the
    samples.
    """
    lost = before.right & ~after.right
    n, samples = len(lost), len(before.rows)
    if n == samples or not lost.any():
        low, high = share(float(lost.sum()), samples)
    else:
        counts = np.stack([
            np.bincount(after.owner, lost, samples), np.bincount(after.owner, minlength=samples)
        ], axis=1)  # fmt: skip
        low, high = percentiles(ratio(resampled_sums(counts.astype(np.float64), seed)))
    value = float(lost.mean())
    return Measurement(value, "1", min(low, value), max(high, value), "measured", n)


def agreement(before: SampleTable, after: SampleTable, seed: int) -> Measurement:
    """Share of decisions that are the reference's."""
    samples = len(before.rows)
    same = (before.decisions == after.decisions).astype(np.float64)
    rows = np.stack([
        np.bincount(after.owner, same, samples), np.bincount(after.owner, minlength=samples)
    ], axis=1).astype(np.float64)  # fmt: skip
    return measure(METRICS["agreement"], rows, seed)


def fidelity(before: SampleTable, after: SampleTable, seed: int) -> dict[str, Measurement]:
    """Every fidelity metric that the outputs allow, by name."""
    found = {name: measure(METRICS[name], rows, seed) for name, rows in after.fidelity.items()}
    if paired_decisions(before, after):
        found["agreement"] = agreement(before, after, seed)
    return found


def identity(found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Fidelity of the reference to itself, which nobody needs to measure."""
    return {name: counted(near.value, near.unit, near.n) for name, near in found.items()}


def groups(task: Task, before: SampleTable, after: SampleTable, seed: int) -> tuple[Group, ...]:
    """Every group of every column, with its metric, its own paired drop, and its flips."""
    found = []
    for column, names in task.groups.items():
        of_sample = np.array(list(map(str, names)))
        for name in sorted(set(of_sample.tolist())):
            places = np.flatnonzero(of_sample == name)
            was, now = part(before, places), part(after, places)
            metric = measure(task.metric, now.rows, seed)
            loss, _ = drop(task.metric, was.rows, now.rows, seed)
            lost = flips(was, now, seed) if paired_decisions(was, now) else None
            found.append(Group(column, name, len(places), metric, loss, lost))
    return tuple(found)


def part(table: SampleTable, places: NDArray[np.intp]) -> SampleTable:
    """The table of some samples, by ascending index."""
    kept = np.isin(table.owner, places)
    return SampleTable(
        rows=table.rows[places],
        decisions=table.decisions[kept],
        right=table.right[kept],
        owner=np.searchsorted(places, table.owner[kept]),
        confidence=table.confidence[kept],
    )


def worst(found: tuple[Group, ...]) -> Mapping[str, Measurement]:
    """``worst_group_drop``: the highest drop of a group of 30 or more samples, with its interval.

    The worst of many groups looks worse than it is, by chance; its interval is that of the group
    alone. Empty where no group is large enough.
    """
    drops = [group.drop for group in found if group.n >= SMALLEST_GROUP]
    if not drops:
        return {}
    return {"worst_group_drop": max(drops, key=lambda loss: loss.value)}


def no_loss(found: tuple[Group, ...]) -> tuple[Group, ...]:
    """Groups of the reference itself, whose drop and flips are 0 by definition."""
    return tuple(
        replace(
            group,
            drop=counted(0.0, n=group.n),
            flips=None if group.flips is None else counted(0.0, n=group.flips.n),
        )
        for group in found
    )
