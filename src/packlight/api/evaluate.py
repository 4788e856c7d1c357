"""Judge a model by a task, beside a reference where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packlight.comparison import check_format, write_samples
from packlight.evaluation import columns
from packlight.model.save import check_output_path
from packlight.records import Evaluation, SessionOptions
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search.adopted import adopted, scratch
from packlight.search.bench import Bench
from packlight.search.contrasts import contrast, reference_table
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for


def evaluate(
    model: AnyModel,
    task: AnyTask,
    *,
    reference: AnyModel | None = None,
    samples: Path | None = None,
    options: SessionOptions = DEFAULT_SESSION,
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Judge a model by a task.

    Args:
        model: to judge.
        task: samples, metric and groups.
        reference: what drops, flips and fidelity are against; the model itself where there is none.
        samples: ``.csv`` or ``.parquet`` to write a row for every sample to; nowhere where there is
            none.
        options: of the session.
        seed: of the bootstrap.
        progress: told what is being done.

    Raises:
        InputError: a model or the task cannot be used, the two models are not alike, or ``samples``
            cannot be written.
    """
    check_samples(samples)
    with at_hand(model, model if reference is None else reference) as (opened, base):
        data = task_for(task, base.model)
        with scratch(base, data, options, seed=seed, progress=progress) as bench:
            found = bench.quality(adopted(bench, opened, opened.model.name))
            beside = contrast(bench, found)
            if samples is not None:
                write_tables(bench, [found], [opened.model.name], samples)
    told = "" if samples is None else str(samples)
    return replace(found, samples=told, beside="", warnings=data.notes, contrast=beside)


def check_samples(out: Path | None) -> None:
    """Refuse a place or a kind of file for the table of samples before any work is done."""
    if out is not None:
        check_format(out)
        check_output_path(out)


def write_tables(
    bench: Bench, found: Sequence[Evaluation], names: Sequence[str], out: Path
) -> None:
    """Write what single samples did in the original and in models judged beside it."""
    tables = {}
    if any(one.variant != one.reference for one in found):
        tables[REFERENCE] = reference_table(bench, found[0])
    tables.update({name: bench.table(one) for name, one in zip(names, found, strict=True)})
    write_samples(out, tables, columns(bench.task), bench.task.metric.name)


REFERENCE = "reference"
"""Name of the original in the table of samples."""
