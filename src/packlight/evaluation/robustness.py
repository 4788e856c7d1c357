"""Whether a variant bears small changes of its inputs as its reference does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from packlight.evaluation.evaluate import evaluate, silent
from packlight.evaluation.exactness import spread
from packlight.evaluation.observe import Progress
from packlight.metrics import Metric, Rows
from packlight.metrics.intervals import percentile_interval
from packlight.metrics.paired import drop, drop_scale, resampled_drops
from packlight.model.model import Model
from packlight.records import Measurement, Robustness, SessionOptions
from packlight.task import Selection, Task
from packlight.task.changes import changed_tasks

MOST = 1000
"""Samples that are changed."""


def robustness(
    model: Model,
    reference: Model,
    task: Task,
    options: SessionOptions,
    *,
    variant: str,
    seed: int = 0,
    limit: int = MOST,
    progress: Progress = silent,
) -> tuple[Robustness, ...]:
    """Drops of both models under every change that fits the task's inputs, or that it brings.

    Args:
        model: the variant.
        reference: what it is compared with.
        task: samples and metric.
        options: of both sessions.
        variant: id of the model.
        seed: of the changes and of intervals.
        limit: samples at most, evenly spread: every change runs both models on all of them.
        progress: told the samples done and all of them.

    Raises:
        TaskError: no input can be changed.
    """

    def tables(data: Task) -> tuple[Rows, Rows]:
        judged = evaluate(
            model, data, options, reference=reference, variant=variant, reference_id="reference",
            seed=seed, progress=progress,
        )  # fmt: skip
        return judged.beside.rows, judged.table.rows

    some = part_of(task, limit)
    changed = changed_tasks(some, seed)
    before = tables(some)
    return tuple(
        Robustness(variant, name, *drops(task.metric, before, tables(data), seed))
        for name, data in changed.items()
    )


def part_of(task: Task, limit: int) -> Task:
    """The task with some of its samples, evenly spread."""
    if len(task.samples) <= limit:
        return task
    places = list(spread(len(task.samples), limit))
    return replace(
        task,
        samples=Selection(task.samples, places),
        targets=[task.targets[place] for place in places] if len(task.targets) else (),
        groups={name: [of[place] for place in places] for name, of in task.groups.items()},
    )


def drops(
    metric: Metric, before: tuple[Rows, Rows], after: tuple[Rows, Rows], seed: int
) -> tuple[Measurement, Measurement, Measurement]:
    """The drop of the reference, that of the variant, and how far they lie apart.

    Args:
        metric: of the task.
        before: rows of the reference and of the variant, on inputs as they are.
        after: the same on changed inputs.
        seed: of the bootstrap, which draws the same samples for all four.
    """
    pairs = list(zip(before, after, strict=True))
    ours, theirs = (drop(metric, clean, rough, seed)[0] for clean, rough in pairs)
    drawn = [
        resampled_drops(metric, clean, rough, seed, drop_scale(metric, metric.total(clean)))
        for clean, rough in pairs
    ]
    low, high = percentile_interval(np.asarray(drawn[1] - drawn[0]))
    value = theirs.value - ours.value
    extra = Measurement(value, "1", min(low, value), max(high, value), "measured", ours.n)
    return ours, theirs, extra
