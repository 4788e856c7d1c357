"""Measurements with intervals, from tables of single samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from packlight.errors import UndefinedError
from packlight.metrics import METRICS
from packlight.metrics.paired import SMALLEST_GROUP, decision_rate, drop, measure, widen
from packlight.metrics.significance import sidak_width
from packlight.records import Group, Measurement, counted
from packlight.task import SampleTable, Task

MOST_CLASSES = 49
"""Classes that are groups without being asked for; a column ``group_target`` asks for more."""

TARGET = "target"
"""Name of the column of classes."""


def flips(before: SampleTable, after: SampleTable, seed: int) -> Measurement:
    """Share of decisions that were right and are wrong now.

    Where the task has no targets, the reference's decisions count as right.
    """
    return decision_rate(before.right & ~after.right, after.owner, len(before.rows), seed)


def agreement(before: SampleTable, after: SampleTable, seed: int) -> Measurement:
    """Share of decisions equal to the reference's."""
    samples = len(before.rows)
    same = (before.decisions == after.decisions).astype(np.float64)
    rows = np.stack([
        np.bincount(after.owner, same, samples), np.bincount(after.owner, minlength=samples)
    ], axis=1).astype(np.float64)  # fmt: skip
    return measure(METRICS["agreement"], rows, seed)


def fidelity(before: SampleTable, after: SampleTable, seed: int) -> dict[str, Measurement]:
    """Every fidelity metric that the outputs allow, by name."""
    metrics = {name: measure(METRICS[name], rows, seed) for name, rows in after.fidelity.items()}
    if before.same_decision_counts(after):
        metrics["agreement"] = agreement(before, after, seed)
    return metrics


def fidelity_to_itself(before: SampleTable, seed: int) -> dict[str, Measurement]:
    """Fidelity of a random reference's second run to its first, as ``snr_itself``."""
    return {
        f"{name}_itself": measure(METRICS[name], rows, seed)
        for name, rows in before.fidelity.items()
    }


def identity(metrics: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Fidelity of the reference to itself, which needs no interval."""
    return {name: counted(metric.value, metric.unit, metric.n) for name, metric in metrics.items()}


def columns(task: Task) -> dict[str, tuple[str, ...]]:
    """The task's group columns, and its classes under ``target`` where no column has them."""
    groups = {column: tuple(map(str, names)) for column, names in task.groups.items()}
    if task.metric.form != "classes" or task.metric.against != "target" or TARGET in groups:
        return groups
    if any(np.asarray(target).size != 1 for target in task.targets):
        return groups
    classes = tuple(str(np.asarray(target).reshape(-1)[0]) for target in task.targets)
    count = len(set(classes))
    if count == len(classes) or count > MOST_CLASSES:
        return groups
    for names in groups.values():
        if len(set(names)) == len(set(zip(names, classes, strict=True))) == count:
            return groups
    return {**groups, TARGET: classes}


def groups(task: Task, before: SampleTable, after: SampleTable, seed: int) -> tuple[Group, ...]:
    """Every group of every column, with its metric, its own paired drop, and its flips.

    Groups in which the metric has no value are left out.
    """
    judged = []
    for column, names in columns(task).items():
        for name, indices in _members(names):
            reference_rows = part(before, indices)
            rows = part(after, indices)
            try:
                metric = measure(task.metric, rows.rows, seed)
                loss, _ = drop(task.metric, reference_rows.rows, rows.rows, seed)
            except UndefinedError:
                continue  # ``undefined_groups`` names it
            lost = None
            if reference_rows.same_decision_counts(rows):
                lost = flips(reference_rows, rows, seed)
            judged.append(Group(column, name, len(indices), metric, loss, lost))
    return tuple(judged)


def undefined_groups(task: Task, judged: Sequence[Group]) -> tuple[str, ...]:
    """A label that names the groups without a value of the metric; empty where all have one."""
    measured = {(group.column, group.name) for group in judged}
    missing = [
        f"{column} = {name}"
        for column, names in columns(task).items()
        for name in sorted(set(names))
        if (column, name) not in measured
    ]
    if not missing:
        return ()
    return (f"no {task.metric.name} in {', '.join(missing)}",)


def _members(names: Sequence[str]) -> list[tuple[str, NDArray[np.intp]]]:
    of_sample = np.array(names)
    return [(name, np.flatnonzero(of_sample == name)) for name in sorted(set(names))]


def part(table: SampleTable, indices: NDArray[np.intp]) -> SampleTable:
    """Select the rows of some samples, by ascending index."""
    selected = np.isin(table.owner, indices)
    return SampleTable(
        rows=table.rows[indices],
        decisions=table.decisions[selected],
        right=table.right[selected],
        owner=np.searchsorted(indices, table.owner[selected]),
        confidence=table.confidence[selected],
    )


def worst(
    task: Task, before: SampleTable, after: SampleTable, judged: Sequence[Group]
) -> Mapping[str, Measurement]:
    """``worst_group_drop``: the highest drop of a group of 30 or more samples.

    The worst of many groups looks worse than it is, by chance, and a group that looks fine may be
    worse. So the interval is of the highest *true* drop: all groups get intervals that hold
    together in 95 % of cases, and its ends are the highest lower and the highest upper end among
    them. Empty where no group is large enough.

    Source: intersection bounds of Chernozhukov, Lee and Rosen, Econometrica 81 (2013), with the
    intervals of :func:`~packlight.metrics.significance.sidak`.
    """
    large = [group for group in judged if group.n >= SMALLEST_GROUP]
    if not large:
        return {}
    samples = {
        (column, name): indices
        for column, names in columns(task).items()
        for name, indices in _members(names)
    }
    score = sidak_width(len(large))
    together = []
    for group in large:
        indices = samples[group.column, group.name]
        rows = before.rows[indices], after.rows[indices]
        together.append(widen(task.metric, *rows, group.drop, score))
    top = max(together, key=lambda loss: loss.value)
    low = max(loss.low for loss in together)
    high = max(loss.high for loss in together)
    return {"worst_group_drop": replace(top, low=min(low, top.value), high=high)}


def no_loss(judged: tuple[Group, ...]) -> tuple[Group, ...]:
    """Groups of the reference itself, whose drop and flips are 0 by definition."""
    groups = []
    for group in judged:
        lost = group.flips and counted(0.0, n=group.flips.n)
        groups.append(replace(group, drop=counted(0.0, n=group.n), flips=lost))
    return tuple(groups)
