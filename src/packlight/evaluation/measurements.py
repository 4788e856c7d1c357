"""From tables of single samples to measurements with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from packlight.metrics import METRICS
from packlight.metrics.paired import SMALLEST_GROUP, decision_rate, drop, measure, widen
from packlight.metrics.significance import sidak_width
from packlight.records import Group, Measurement, counted
from packlight.task import SampleTable, Task

TARGET = "target"
"""Name of the column that the classes make."""


def flips(before: SampleTable, after: SampleTable, seed: int) -> Measurement:
    """Share of decisions that were right and are wrong now.

    Where the task has no targets, right means as the reference decides.
    """
    return decision_rate(before.right & ~after.right, after.owner, len(before.rows), seed)


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
    if before.same_decision_counts(after):
        found["agreement"] = agreement(before, after, seed)
    return found


def identity(found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Fidelity of the reference to itself, which nobody needs to measure."""
    return {name: counted(near.value, near.unit, near.n) for name, near in found.items()}


def columns(task: Task) -> dict[str, tuple[str, ...]]:
    """The task's group columns, and its classes under ``target`` where no column has them."""
    found = {column: tuple(map(str, names)) for column, names in task.groups.items()}
    if task.metric.form != "classes" or task.metric.against != "target" or "target" in found:
        return found
    if any(np.asarray(target).size != 1 for target in task.targets):
        return found
    classes = tuple(str(np.asarray(target).reshape(-1)[0]) for target in task.targets)
    sizes = len(set(classes))
    same = any(
        len(set(names)) == len(set(zip(names, classes, strict=True))) == sizes
        for names in found.values()
    )
    return found if same or sizes == len(classes) else {**found, TARGET: classes}


def groups(task: Task, before: SampleTable, after: SampleTable, seed: int) -> tuple[Group, ...]:
    """Every group of every column, with its metric, its own paired drop, and its flips."""
    found = []
    for column, names in columns(task).items():
        for name, places in members(names):
            was, now = part(before, places), part(after, places)
            metric = measure(task.metric, now.rows, seed)
            loss, _ = drop(task.metric, was.rows, now.rows, seed)
            lost = flips(was, now, seed) if was.same_decision_counts(now) else None
            found.append(Group(column, name, len(places), metric, loss, lost))
    return tuple(found)


def members(names: Sequence[str]) -> list[tuple[str, NDArray[np.intp]]]:
    """The groups of a column, sorted, with the indices of their samples."""
    of_sample = np.array(names)
    return [(name, np.flatnonzero(of_sample == name)) for name in sorted(set(names))]


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


def worst(
    task: Task, before: SampleTable, after: SampleTable, found: Sequence[Group]
) -> Mapping[str, Measurement]:
    """``worst_group_drop``: the highest drop of a group of 30 or more samples.

    The worst of many groups looks worse than it is, by chance, and a group that looks fine may be
    worse. So the interval is of the highest *true* drop: all groups get intervals that hold
    together in 95 % of cases, and its ends are the highest lower and the highest upper end among
    them. Empty where no group is large enough.

    Source: intersection bounds of Chernozhukov, Lee and Rosen, Econometrica 81 (2013), with the
    intervals of :func:`~packlight.metrics.significance.sidak`.
    """
    large = [group for group in found if group.n >= SMALLEST_GROUP]
    if not large:
        return {}
    places = {
        (column, name): indices
        for column, names in columns(task).items()
        for name, indices in members(names)
    }
    score = sidak_width(len(large))
    together = []
    for group in large:
        own = places[group.column, group.name]
        rows = before.rows[own], after.rows[own]
        together.append(widen(task.metric, *rows, group.drop, score))
    top = max(together, key=lambda loss: loss.value)
    low, high = (max(getattr(loss, end) for loss in together) for end in ("low", "high"))
    return {"worst_group_drop": replace(top, low=min(low, top.value), high=high)}


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
