"""Robustness: the drop of a variant and its reference when inputs change a little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from packlight.evaluation.evaluate import evaluate, no_progress
from packlight.evaluation.exactness import evenly_spread
from packlight.evaluation.observe import Progress
from packlight.metrics import Metric, Rows
from packlight.metrics.intervals import percentile_interval
from packlight.metrics.paired import drop, drop_scale, resampled_drops
from packlight.model.model import Model
from packlight.records import Measurement, Robustness, SessionOptions
from packlight.task import Selection, Task
from packlight.task.changes import changed_tasks

MOST_SAMPLES = 1000
"""Samples whose inputs are changed."""


def robustness(
    model: Model,
    reference: Model,
    task: Task,
    options: SessionOptions,
    *,
    variant: str,
    seed: int = 0,
    limit: int = MOST_SAMPLES,
    progress: Progress = no_progress,
) -> tuple[Robustness, ...]:
    """Measure the drops of both models under every change that fits the task's inputs.

    Args:
        model: the variant.
        reference: what it is compared with.
        task: samples and metric.
        options: of both sessions.
        variant: id of the model.
        seed: of the changes and of intervals.
        limit: samples at most, evenly spread: every change runs both models on all of them.
        progress: called with the samples done and their total.

    Raises:
        TaskError: no input can be changed.
    """

    def tables(data: Task) -> tuple[Rows, Rows]:
        judged = evaluate(
            model, data, options, reference=reference, variant=variant, reference_id="reference",
            seed=seed, progress=progress,
        )  # fmt: skip
        return judged.reference_table.rows, judged.table.rows

    subset = evenly_spread_subset(task, limit)
    changed = changed_tasks(subset, seed)
    before = tables(subset)
    return tuple(
        Robustness(variant, name, *_drops(task.metric, before, tables(data), seed))
        for name, data in changed.items()
    )


def evenly_spread_subset(task: Task, limit: int) -> Task:
    """A task with at most ``limit`` of its samples, evenly spread."""
    if len(task.samples) <= limit:
        return task
    indices = list(evenly_spread(len(task.samples), limit))
    return replace(
        task,
        samples=Selection(task.samples, indices),
        targets=[task.targets[index] for index in indices] if len(task.targets) else (),
        groups={
            column: [names[index] for index in indices] for column, names in task.groups.items()
        },
    )


def _drops(
    metric: Metric, before: tuple[Rows, Rows], after: tuple[Rows, Rows], seed: int
) -> tuple[Measurement, Measurement, Measurement]:
    """Measure the drop of the reference, of the variant, and their difference.

    Args:
        metric: of the task.
        before: rows of the reference and of the variant, on unchanged inputs.
        after: rows of both on changed inputs.
        seed: of the bootstrap, which draws the same samples for all four.
    """
    pairs = list(zip(before, after, strict=True))
    reference_drop, variant_drop = (drop(metric, clean, rough, seed)[0] for clean, rough in pairs)
    draws = [
        resampled_drops(metric, clean, rough, seed, drop_scale(metric, metric.total(clean)))
        for clean, rough in pairs
    ]
    low, high = percentile_interval(np.asarray(draws[1] - draws[0]))
    value = variant_drop.value - reference_drop.value
    ends = min(low, value), max(high, value)
    extra = Measurement(value, "1", *ends, "measured", reference_drop.n)
    return reference_drop, variant_drop, extra
