"""Evaluate a model on a task, and compare it with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packlight.comparison import check_format, write_samples
from packlight.disk import check_output_path
from packlight.evaluation import columns
from packlight.records import Evaluation, SessionOptions
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import Bench
from packlight.search.external_models import adopt, temporary_bench
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for


def evaluate(
    model: AnyModel,
    task: AnyTask,
    *,
    reference: AnyModel | None = None,
    samples: Path | None = None,
    options: SessionOptions = DEFAULT_SESSION,
    seed: int = 0,
    seconds: float = 2.0,
    costs: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluate a model on a task.

    Args:
        model: to evaluate.
        task: samples, metric and groups.
        reference: model that drop, flips and fidelity refer to; the model itself by default.
        samples: ``.csv`` or ``.parquet`` file with a row for every sample; none is written by
            default.
        options: of the session.
        seed: of the bootstrap.
        seconds: to spend on the latency.
        costs: whether to measure latency and memory too; the latency of the reference is measured
            interleaved with it.
        progress: told what is being done.

    Raises:
        InputError: a model or the task cannot be used, the two models are not alike, or ``samples``
            cannot be written.
    """
    check_samples(samples)
    with at_hand(model, model if reference is None else reference) as (opened, base):
        data = task_for(task, base.model)
        with temporary_bench(
            base, data, options, seed=seed, seconds=seconds, progress=progress
        ) as bench:
            notes = bench.notes
            variant = adopt(bench, opened, opened.model.name)
            metrics = dict(bench.size(variant).metrics)
            if costs:
                metrics |= bench.latency(variant).metrics
                metrics |= bench.memory(variant).metrics
            evaluation = bench.quality(variant)
            change = bench.contrast(evaluation)
            rows = _saved_rows(bench, evaluation)
            if samples is not None:
                write_tables(bench, [evaluation], [opened.model.name], samples)
    return replace(
        evaluation,
        metrics={**evaluation.metrics, **metrics},
        samples=str(samples or ""),
        beside="",
        warnings=notes,
        contrast=change,
        metric=data.metric.name,
        rows=rows,
    )


def _saved_rows(bench: Bench, evaluation: Evaluation) -> tuple[tuple[float, ...], ...]:
    """Rows of a metric that judges targets; others depend on the reference."""
    if bench.task.metric.against == "reference":
        return ()
    return tuple(tuple(row) for row in bench.table(evaluation).rows.tolist())


def check_samples(out: Path | None) -> None:
    """Refuse an unusable path for the table of samples before any work."""
    if out is not None:
        check_format(out)
        check_output_path(out)


def write_tables(
    bench: Bench, evaluations: Sequence[Evaluation], names: Sequence[str], out: Path
) -> None:
    """Write results of single samples for the original and the models compared with it."""
    tables = {}
    if any(evaluation.variant != evaluation.reference for evaluation in evaluations):
        tables[REFERENCE] = bench.reference_table(evaluations[0])
    tables.update(
        {name: bench.table(evaluation) for name, evaluation in zip(names, evaluations, strict=True)}
    )
    write_samples(out, tables, columns(bench.task), bench.task.metric.name)


REFERENCE = "reference"
"""Name of the original in the table of samples."""
