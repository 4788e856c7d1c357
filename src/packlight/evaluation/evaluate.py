"""Judge a variant by a task, paired with the reference on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

from packlight.evaluation import measurements
from packlight.evaluation.observe import Progress, observe
from packlight.evaluation.reference import Reference
from packlight.metrics.paired import SMALLEST_GROUP, drop, measure
from packlight.model.model import Model
from packlight.records import Evaluation, Group, Measurement, SessionOptions, counted, digest
from packlight.runtime import machine, open_session
from packlight.task import SampleTable, Task


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a variant does, in all and sample by sample.

    Attributes:
        evaluation: the record.
        table: of single samples.
        beside: the same of the reference.
    """

    evaluation: Evaluation
    table: SampleTable
    beside: SampleTable


def silent(done: int, total: int) -> None:
    """Progress that is not shown."""


def evaluate(
    model: Model,
    task: Task,
    options: SessionOptions,
    *,
    reference: Model | Reference,
    variant: str,
    reference_id: str,
    seed: int = 0,
    progress: Progress = silent,
) -> Judgement:
    """Judge a model by a task, beside a reference.

    Both run on one sample after another; of the outputs only rows are kept.

    Args:
        model: to judge.
        task: samples, metric and groups.
        options: of both sessions; a :class:`Reference` brings its own session.
        reference: what it is compared with; a :class:`Reference` given to several calls runs once.
        variant: id of the model.
        reference_id: id of the reference; the variant's own for an original, which loses nothing.
        seed: of the bootstrap.
        progress: told the samples done and all of them.

    Raises:
        ModelError: the model gives NaN or infinity where the reference does not.
        TaskError: the data, the metric, or the reference's outputs do not serve.
    """
    beside = reference if isinstance(reference, Reference) else Reference(reference, task, options)
    itself = beside.model.digest == model.digest
    session = None if itself else open_session(model, options)
    seen = observe(session, model.name, beside, progress)
    after, before = seen.after, seen.before
    metric, loss, detectable = judge_metric(task, before, after, seed, itself=itself)
    found = measurements.groups(task, before, after, seed)
    near = measurements.fidelity(before, after, seed)
    near = measurements.identity(near) if itself else near
    metrics = {**near, task.metric.name: metric, "drop": loss}
    if before.same_decision_counts(after):
        lost = measurements.flips(before, after, seed)
        metrics["flips"] = counted(0.0, n=lost.n) if itself else lost
    groups = measurements.no_loss(found) if itself else found
    metrics.update(
        measurements.worst(task, before, after, groups) if not itself else unharmed(groups)
    )
    inexact = (session or beside.session).inexact
    evaluation = Evaluation(
        variant=variant,
        reference=reference_id,
        data=task.digest,
        split=task.split,
        session=options,
        metrics=metrics,
        groups=groups,
        labels=labels(seen.reshaped, inexact),
        detectable=detectable,
        seed=seed,
        machine=digest(machine()),
        code=task.code,
        distance=seen.distance,
    )
    return Judgement(evaluation, after, before)


def unharmed(groups: tuple[Group, ...]) -> dict[str, Measurement]:
    """``worst_group_drop`` of the reference itself: none."""
    large = [group for group in groups if group.n >= SMALLEST_GROUP]
    return {"worst_group_drop": counted(0.0, n=max(group.n for group in large))} if large else {}


def judge_metric(
    task: Task, before: SampleTable, after: SampleTable, seed: int, *, itself: bool
) -> tuple[Measurement, Measurement, float]:
    """The task's metric, the drop, and the smallest drop that can be told from none."""
    metric = measure(task.metric, after.rows, seed)
    loss, detectable = drop(task.metric, before.rows, after.rows, seed)
    return metric, counted(0.0, n=loss.n) if itself else loss, detectable


def labels(reshaped: tuple[str, ...], inexact: tuple[str, ...]) -> tuple[str, ...]:
    """Warnings about how the numbers came to be."""
    found = []
    if reshaped:
        found.append(f"fidelity not told: {', '.join(reshaped)} changes shape")
    if inexact:
        found.append(f"exact arithmetic not available: {', '.join(inexact)}")
    return tuple(found)
