"""Evaluate a variant on a task, paired with the reference on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

from packlight.evaluation import measurements
from packlight.evaluation.model_notes import RANDOM
from packlight.evaluation.observe import Progress, observe
from packlight.evaluation.reference import VARIANT_DRAW, Reference
from packlight.metrics.paired import SMALLEST_GROUP, drop, measure
from packlight.model import Model, with_seeds
from packlight.records import Evaluation, Group, Measurement, SessionOptions, counted, digest
from packlight.runtime import Session, machine, open_session
from packlight.task import SampleTable, Task


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Results of a variant, overall and sample by sample.

    Attributes:
        evaluation: the record.
        table: of single samples.
        reference_table: of the reference on the same samples.
    """

    evaluation: Evaluation
    table: SampleTable
    reference_table: SampleTable


def no_progress(done: int, total: int) -> None:
    """Show no progress."""


def evaluate(
    model: Model,
    task: Task,
    options: SessionOptions,
    *,
    reference: Model | Reference,
    variant: str,
    reference_id: str,
    session: Session | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Judgement:
    """Evaluate a model on a task, against a reference.

    Both run on one sample after another; of the outputs only scores stay in memory.

    Args:
        model: the variant.
        task: samples, metric and groups.
        options: of both sessions; a :class:`Reference` brings its own session.
        reference: the original; a :class:`Reference` shared by several calls runs once.
        variant: id of the model.
        reference_id: id of the reference; the variant's own for an original, which loses nothing.
        session: that runs the model, where it runs elsewhere; it is opened here by default.
        seed: of the bootstrap.
        progress: called with the samples done and their total.

    Raises:
        ModelError: the model gives NaN or infinity where the reference does not.
        TaskError: the data, the metric, or the reference's outputs cannot be used.
    """
    if not isinstance(reference, Reference):
        reference = Reference(reference, task, options)
    itself = session is None and reference.model.digest == model.digest
    if session is None and not itself:
        session = open_session(with_seeds(model, VARIANT_DRAW), options)
    observed = observe(session, model.name, reference, progress)
    after = observed.after
    before = observed.before
    metric, loss, detectable = _judge_metric(task, before, after, seed, itself=itself)
    groups = measurements.groups(task, before, after, seed)
    metrics = measurements.fidelity(before, after, seed)
    metrics |= measurements.fidelity_to_itself(before, seed)
    if itself:
        groups = measurements.no_loss(groups)
        metrics = measurements.identity(metrics)
    metrics |= {task.metric.name: metric, "drop": loss}
    if before.same_decision_counts(after):
        flips = measurements.flips(before, after, seed)
        metrics["flips"] = counted(0.0, n=flips.n) if itself else flips
    if itself:
        metrics.update(_unharmed(groups))
    else:
        metrics.update(measurements.worst(task, before, after, groups))
    inexact = (session or reference.session).inexact
    evaluation = Evaluation(
        variant=variant,
        reference=reference_id,
        data=task.digest,
        split=task.split,
        session=options,
        metrics=metrics,
        groups=groups,
        labels=(
            *labels(observed.reshaped, inexact, is_random=reference.is_random),
            *measurements.undefined_groups(task, groups),
        ),
        detectable=detectable,
        seed=seed,
        machine=digest(machine()),
        code=task.code,
        distance=observed.distance,
    )
    return Judgement(evaluation, after, before)


def _unharmed(groups: tuple[Group, ...]) -> dict[str, Measurement]:
    sizes = [group.n for group in groups if group.n >= SMALLEST_GROUP]
    if sizes:
        return {"worst_group_drop": counted(0.0, n=max(sizes))}
    return {}


def _judge_metric(
    task: Task, before: SampleTable, after: SampleTable, seed: int, *, itself: bool
) -> tuple[Measurement, Measurement, float]:
    metric = measure(task.metric, after.rows, seed)
    loss, detectable = drop(task.metric, before.rows, after.rows, seed)
    if itself:
        loss = counted(0.0, n=loss.n)
    return metric, loss, detectable


def labels(
    reshaped: tuple[str, ...], inexact: tuple[str, ...], *, is_random: bool
) -> tuple[str, ...]:
    """Warnings about how the numbers were measured."""
    warnings = []
    if is_random:
        warnings.append(RANDOM)
    if reshaped:
        warnings.append(f"no fidelity: {', '.join(reshaped)} changes shape")
    if inexact:
        warnings.append(f"exact arithmetic not available: {', '.join(inexact)}")
    return tuple(warnings)
