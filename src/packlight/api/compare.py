"""Compare models from anywhere: measure each beside the base, on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from packlight.advice import advice_for_results
from packlight.api.evaluate import check_samples, write_tables
from packlight.api.layers import compare_layers
from packlight.comparison import compare as put_beside
from packlight.errors import InputError
from packlight.evaluation import columns
from packlight.evaluation.robustness import robustness
from packlight.model import Model
from packlight.model.save import check_output_path
from packlight.records import (
    Budget,
    Comparison,
    Cost,
    Evaluation,
    Outcome,
    Robustness,
    SessionOptions,
    Variant,
    VariantResult,
)
from packlight.records.session import DEFAULT_SESSION
from packlight.report import write_report
from packlight.runtime import machine
from packlight.runtime.progress import Progress, silent
from packlight.search.adopted import adopted, check_alike, scratch
from packlight.search.bench import Bench
from packlight.search.choice import judged
from packlight.search.contrasts import contrast
from packlight.search.explain import inputs_of
from packlight.search.fit import STEPS, measured
from packlight.sources.opening import AnyModel, AnyTask, Opened, at_hand, task_for


def compare(
    base: AnyModel,
    others: Sequence[AnyModel],
    task: AnyTask,
    *,
    report: Path | None = None,
    samples: Path | None = None,
    options: SessionOptions = DEFAULT_SESSION,
    seed: int = 0,
    seconds: float = 2.0,
    costs: bool = True,
    inside: bool = False,
    robust: bool = False,
    progress: Progress = silent,
) -> Comparison:
    """What changes from a base to other models, wherever these were made.

    Args:
        base: the reference.
        others: models with the same inputs and outputs.
        task: samples, metric and groups.
        report: where to write the HTML report; nowhere where there is none.
        samples: ``.csv`` or ``.parquet`` with a row for every model and sample; none where there is
            none.
        options: of every session.
        seed: of everything random.
        seconds: to spend on the latency of each model.
        costs: whether latency and memory are measured; without, only size and quality are told,
            and there is no report.
        inside: whether values and weights inside the models are compared too.
        robust: whether drops under small changes of the inputs are compared too.
        progress: told what is being done, steps finished and steps in all.

    Raises:
        InputError: a model or the task cannot be used, or the models are not alike.
    """
    check_samples(samples)
    if report is not None:
        check_output_path(report)
        check_costs(costs)
    names = distinct([name_of(model) for model in (base, *others)])[1:]
    with at_hand(base, *others) as (first, *rest):
        for name, opened in zip(names, rest, strict=True):
            check_alike(first.model, opened.model, name)
        data = task_for(task, first.model)
        with scratch(first, data, options, seed=seed, seconds=seconds, progress=progress) as bench:
            variants = [
                adopted(bench, opened, name) for name, opened in zip(names, rest, strict=True)
            ]
            measurements, judged_by = measure(bench, variants, costs=costs)
            found = replace(measurements, warnings=data.notes)
            if inside:
                seen = [
                    compare_layers(first.model, one.model, data, options=options, progress=progress)
                    for one in rest
                ]
                found = replace(found, layers=tuple(seen))
            if robust:
                found = replace(found, robustness=shaken(bench, rest, judged_by[1:]))
            told = advice_for_results(found.base, found.others, judged_by[0].detectable)
            found = replace(found, lessons=told)
            if samples is not None:
                write_tables(bench, judged_by[1:], names, samples)
                found = replace(found, samples=str(samples))
            if report is None:
                return found
            shown = outcome(bench, found, judged_by[0].detectable)
            title = f"{bench.opened.model.name} and {len(rest)} beside it"
            write_report(shown, report, title, inputs_of(bench, found.contrasts))
    return replace(found, report=str(report))


def shaken(
    bench: Bench, others: Sequence[Opened], judged_by: Sequence[Evaluation]
) -> tuple[Robustness, ...]:
    """Drops of every variant under small changes of the inputs."""
    return tuple(
        found
        for opened, one in zip(others, judged_by, strict=True)
        for found in robustness(
            opened.model, bench.opened.model, bench.task, bench.options,
            variant=one.variant, seed=bench.seed,
            progress=lambda done, total: bench.progress("evaluating", done, total),
        )
    )  # fmt: skip


def check_costs(costs: bool) -> None:
    """Refuse a report without what it draws.

    Raises:
        InputError: latency and memory are not measured.
    """
    if not costs:
        raise InputError(
            "a report draws latency, which is not measured for quality alone. Leave out one of the "
            "two"
        )


def measure(
    bench: Bench, variants: Sequence[Variant], *, costs: bool
) -> tuple[Comparison, Sequence[Evaluation]]:
    """All models measured and put beside each other, and how each was judged, the base first."""
    everyone = (bench.original, *variants)
    total = STEPS * len(everyone)
    if costs:
        measure_costs(bench, everyone, total)
    look = measured if costs else without_costs
    told = replace(bench, progress=silent) if costs else bench  # with costs all is measured by now
    base, own = look(told, bench.original, 0, total)
    results, evaluations = [], [own]
    for place, variant in enumerate(variants, start=1):
        result, evaluation = look(told, variant, STEPS * place, total)
        results.append(judged(result, Budget(), base.metrics) if costs else result)
        evaluations.append(evaluation)
    bench.progress("done", total, total)
    tables = {found.variant: bench.table(found) for found in evaluations}
    contrasts = [found for found in (contrast(bench, one) for one in evaluations) if found]
    judgements = {found.variant: found for found in evaluations}
    groups = columns(bench.task)
    return put_beside(
        base, results, tables, groups, evaluations=judgements, contrasts=contrasts
    ), evaluations


def measure_costs(bench: Bench, everyone: Sequence[Variant], total: int) -> None:
    """Latency of all while nothing else runs; then memory, in processes that run beside quality.

    The base's latency comes from the race with the first model that is another.
    """
    models = {variant.id: variant for variant in everyone}
    others = [variant for variant in models.values() if variant.id != bench.original.id]
    for place, variant in enumerate(others):
        bench.progress(f"{variant.name}: latency", place, total)
        if place == 0:
            bench.latency_of_both(variant)
        bench.latency(variant)
    sample, aside = bench.timed_samples[0], ThreadPoolExecutor(1)
    try:
        peaks = {key: aside.submit(bench.fill, one, sample) for key, one in models.items()}
        for place, (key, variant) in enumerate(models.items(), start=len(others)):
            bench.progress(f"{variant.name}: quality and memory", place, total)
            bench.quality(variant)
            bench.once("memory", variant, Cost, peaks[key].result)
    finally:
        aside.shutdown(cancel_futures=True)


def without_costs(
    bench: Bench, variant: Variant, done: int, total: int
) -> tuple[VariantResult, Evaluation]:
    """One variant with its size and quality alone."""
    bench.progress(f"{variant.name}: quality", done + 1, total)
    quality = bench.quality(variant)
    metrics = {**bench.size(variant).metrics, **quality.metrics}
    result = VariantResult(
        id=variant.id, parent=variant.parent, name=variant.name, recipe=variant.recipe.text(),
        file=variant.file, metrics=metrics, groups=quality.groups, labels=quality.labels,
    )  # fmt: skip
    return result, quality


def outcome(bench: Bench, found: Comparison, detectable: float) -> Outcome:
    """A comparison in the form that a report takes: no budget, and nothing chosen."""
    return Outcome(
        best=None,
        verdict="fits",
        misses=(),
        warnings=bench.task.notes,
        front=found.front,
        variants=(found.base, *found.others),
        budget=Budget(),
        metric=bench.task.metric.name,
        detectable=detectable,
        model=bench.opened.model.name,
        task=bench.task.name,
        samples=len(bench.task.samples),
        calibration=len(bench.task.calibration),
        session=bench.options,
        machine=machine(),
        project="",
        lessons=found.lessons,
        contrasts=found.contrasts,
    )


def name_of(model: AnyModel) -> str:
    """What the user calls a model."""
    return model.name if isinstance(model, Model) else str(model)


def distinct(names: Sequence[str]) -> list[str]:
    """Names as short as they can be told apart: the file's own, else the path as given.

    >>> distinct(["a/int8.onnx", "b/int4.onnx"]), distinct(["a/m.onnx", "b/m.onnx"])
    (['int8', 'int4'], ['a/m.onnx', 'b/m.onnx'])
    """
    short = [Path(name).stem for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)
