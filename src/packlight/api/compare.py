"""Compare models from any tool with a base, on the same samples, or evaluations that were saved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from packlight.advice import advice_for_results
from packlight.api.evaluate import check_samples, write_tables
from packlight.api.layers import compare_layers
from packlight.comparison import compare as compare_results
from packlight.comparison.compare import AGAINST_REFERENCE, ratio
from packlight.disk import check_output_path
from packlight.errors import InputError, TaskError
from packlight.evaluation import columns
from packlight.evaluation.robustness import robustness
from packlight.metrics import metric_by_name
from packlight.metrics.paired import drop
from packlight.model import Model
from packlight.records import (
    Budget,
    Comparison,
    Cost,
    Evaluation,
    Robustness,
    SessionOptions,
    Variant,
    VariantResult,
    counted,
    loads,
    parse_budget,
)
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import Bench
from packlight.search.choice import check_names, with_verdict
from packlight.search.external_models import adopt, check_alike, temporary_bench
from packlight.search.report_pages import write_report
from packlight.search.study import keep_outcome
from packlight.search.trials import STEPS, describe_outcome, measure_variant
from packlight.sources.opening import AnyModel, AnyTask, Opened, at_hand, task_for


def compare(
    base: AnyModel,
    models: Sequence[AnyModel],
    task: AnyTask,
    *,
    budget: Sequence[str] | Budget = (),
    report: Path | None = None,
    samples: Path | None = None,
    options: SessionOptions = DEFAULT_SESSION,
    seed: int = 0,
    seconds: float = 2.0,
    costs: bool = True,
    layers: bool = False,
    robust: bool = False,
    progress: Progress = silent,
) -> Comparison:
    """Compare models from any tool with a base.

    Args:
        base: the reference.
        models: compared with it; they need the same inputs and outputs.
        task: samples, metric and groups.
        budget: limits that each model is judged by, as ``["size<=2MB", "drop<=1%"]``.
        report: path of the HTML report; none is written by default.
        samples: ``.csv`` or ``.parquet`` file with a row for every model and sample; none is
            written by default.
        options: of every session.
        seed: of everything random.
        seconds: to spend on the latency of each model.
        costs: whether to measure latency and memory; without them there is no report.
        layers: whether to compare values and weights inside the models too.
        robust: whether to compare drops under small changes of the inputs too.
        progress: told what is being done, steps finished and steps in all.

    Raises:
        InputError: a model or the task cannot be used, or the models are not alike.
    """
    check_samples(samples)
    limits = parse_budget(budget)
    if report is not None:
        check_output_path(report)
        _check_costs(costs)
    names = distinct_names([_display_name(model) for model in (base, *models)])[1:]
    with at_hand(base, *models) as (base_opened, *opened_models):
        for name, opened in zip(names, opened_models, strict=True):
            check_alike(base_opened.model, opened.model, name)
        data = task_for(task, base_opened.model)
        check_names(limits, data.metric)
        with temporary_bench(
            base_opened, data, options, seed=seed, seconds=seconds, progress=progress
        ) as bench:
            variants = [
                adopt(bench, opened, name)
                for name, opened in zip(names, opened_models, strict=True)
            ]
            comparison, evaluations = _measure_models(bench, variants, limits, costs=costs)
            comparison = replace(comparison, warnings=bench.notes)
            detectable = evaluations[0].detectable
            lessons = advice_for_results(comparison.base, comparison.others, detectable)
            comparison = replace(comparison, lessons=lessons)
            if layers:
                compare_with_base = partial(
                    compare_layers, base_opened.model, task=data, options=options
                )
                records = [
                    compare_with_base(opened.model, progress=progress) for opened in opened_models
                ]
                comparison = replace(comparison, layers=tuple(records))
            if robust:
                drops = _compare_robustness(bench, opened_models, evaluations[1:])
                comparison = replace(comparison, robustness=drops)
            if samples is not None:
                write_tables(bench, evaluations[1:], names, samples)
                comparison = replace(comparison, samples=str(samples))
            if report is None:
                return comparison
            _write_report(bench, comparison, detectable, report)
    return replace(comparison, report=str(report))


def _write_report(bench: Bench, comparison: Comparison, detectable: float, path: Path) -> None:
    results = (comparison.base, *comparison.others)
    outcome = replace(
        describe_outcome(bench, results, Budget(), detectable),
        front=comparison.front,
        lessons=comparison.lessons,
        contrasts=comparison.contrasts,
    )
    title = f"{bench.opened.model.name} and {len(comparison.others)} compared with it"
    keep_outcome(bench.store, outcome)
    write_report(bench.store.folder, path, title, bench.task)


def _compare_robustness(
    bench: Bench, opened_models: Sequence[Opened], evaluations: Sequence[Evaluation]
) -> tuple[Robustness, ...]:
    """Measure drops of every model under small changes of the inputs."""
    return tuple(
        record
        for opened, evaluation in zip(opened_models, evaluations, strict=True)
        for record in robustness(
            opened.model, bench.opened.model, bench.task, bench.options,
            variant=evaluation.variant, seed=bench.seed,
            progress=lambda done, total: bench.progress("evaluating", done, total),
        )
    )  # fmt: skip


def _check_costs(costs: bool) -> None:
    """Refuse a report without costs.

    Raises:
        InputError: latency and memory are not measured.
    """
    if not costs:
        raise InputError(
            "a report needs latency, and --quality does not measure it. Leave out one of them"
        )


def _measure_models(
    bench: Bench, variants: Sequence[Variant], budget: Budget, *, costs: bool
) -> tuple[Comparison, Sequence[Evaluation]]:
    """Measure and compare all models; also returns their evaluations, the base first."""
    all_variants = (bench.original, *variants)
    total = STEPS * len(all_variants)
    measuring = bench
    if costs:
        _measure_costs(bench, all_variants, total)
        measuring = replace(bench, progress=silent)  # everything is measured by now
    base, evaluation = measure_variant(measuring, bench.original, 0, total, costs=costs)
    results = []
    evaluations = [evaluation]
    for index, variant in enumerate(variants, start=1):
        done = STEPS * index
        result, evaluation = measure_variant(measuring, variant, done, total, costs=costs)
        result = with_verdict(result, budget, base.metrics)
        results.append(result)
        evaluations.append(evaluation)
    bench.progress("done", total, total)
    contrasts = [bench.contrast(evaluation) for evaluation in evaluations]
    comparison = compare_results(
        base,
        results,
        {evaluation.variant: bench.table(evaluation) for evaluation in evaluations},
        columns(bench.task),
        evaluations={evaluation.variant: evaluation for evaluation in evaluations},
        contrasts=[record for record in contrasts if record],
    )
    return comparison, evaluations


def _measure_costs(bench: Bench, variants_and_base: Sequence[Variant], total: int) -> None:
    """Measure latency while nothing else runs; then memory, in processes parallel to quality.

    The base's latency is measured interleaved with the first different model.
    """
    models = {variant.id: variant for variant in variants_and_base}
    compared = [variant for variant in models.values() if variant.id != bench.original.id]
    for index, variant in enumerate(compared):
        bench.progress(f"{variant.name}: latency", index, total)
        if index == 0:
            bench.latency_of_both(variant)
        bench.latency(variant)
    sample = bench.latency_samples[0]
    pool = ThreadPoolExecutor(1)
    try:
        peaks = {
            key: pool.submit(bench.measure_memory, variant, sample)
            for key, variant in models.items()
        }
        for index, (key, variant) in enumerate(models.items(), start=len(compared)):
            bench.progress(f"{variant.name}: quality and memory", index, total)
            bench.quality(variant)
            bench.once("memory", variant, Cost, peaks[key].result)
    finally:
        pool.shutdown(cancel_futures=True)


def compare_saved(files: Sequence[str | Path]) -> Comparison:
    """Compare evaluations that ``packlight evaluate --json`` printed with the first of them.

    An evaluation on other data or another machine than the base is shown with what differs and is
    not ranked. The drop is paired by the saved rows of the metric; latencies were measured at
    different times, so the interval of their ratio is wide.

    Args:
        files: of at least two evaluations.

    Raises:
        InputError: a file cannot be read or is no evaluation, or there are fewer than two.
    """
    if len(files) <= 1:
        raise InputError("evaluations are compared with each other; give the files of two or more")
    names = distinct_names([str(file) for file in files])
    evaluations = dict(zip(names, (_read_evaluation(Path(file)) for file in files), strict=True))
    if len(evaluations) < len(files):
        raise InputError("two of these files have the same path; name each file once")
    base, *results = (_as_result(name, evaluation) for name, evaluation in evaluations.items())
    first = evaluations[base.id]
    results = [
        _with_ratio(_paired(result, first, evaluations[result.id]), base) for result in results
    ]
    base = _with_ratio(base, base)
    comparison = compare_results(base, results, {}, {}, evaluations=evaluations)
    contrasts = []
    warnings: dict[str, None] = {}
    for name, evaluation in evaluations.items():
        if evaluation.contrast:
            contrasts.append(replace(evaluation.contrast, variant=name))
        warnings |= dict.fromkeys(evaluation.warnings)
    return replace(comparison, contrasts=tuple(contrasts), warnings=tuple(warnings))


def is_saved(model: AnyModel) -> bool:
    """Tell if a name is that of a saved evaluation."""
    return not isinstance(model, Model) and str(model).endswith(SAVED)


SAVED = ".json"
"""Ending of files that ``packlight evaluate --json`` is saved to."""


def _read_evaluation(file: Path) -> Evaluation:
    """Read an evaluation from its file.

    Raises:
        InputError: the file cannot be read, or is no evaluation.
    """
    try:
        return loads(Evaluation, file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"'{file}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"'{file}' must be JSON as 'packlight evaluate --json' prints it: {error}"
                         ) from error  # fmt: skip
    except InputError as error:
        raise InputError(f"'{file}' holds no evaluation: {error}") from error


def _as_result(name: str, evaluation: Evaluation) -> VariantResult:
    """Result of a saved evaluation; without metrics against a reference if there was none."""
    metrics = dict(evaluation.metrics)
    if evaluation.reference == evaluation.variant:
        for key in AGAINST_REFERENCE:
            metrics.pop(key, None)
    return VariantResult(
        name, "", name, "", "", metrics=metrics, groups=evaluation.groups, labels=evaluation.labels
    )  # fmt: skip


def _paired(result: VariantResult, base: Evaluation, evaluation: Evaluation) -> VariantResult:
    """Add the drop from the base, from rows of the same samples by one metric of the table."""
    alike = (base.metric, base.data) == (evaluation.metric, evaluation.data)
    before = np.asarray(base.rows)
    after = np.asarray(evaluation.rows)
    if not alike or not before.size or len(before) != len(after):
        return result
    try:
        metric = metric_by_name(evaluation.metric)
    except TaskError:  # a metric of the task's own, whose rows only its code can total
        return result
    if not math.isclose(metric.total(after), evaluation.metrics[metric.name].value):
        return result
    loss, _ = drop(metric, before, after, base.seed)
    return replace(result, metrics={**result.metrics, "drop": loss})


def _with_ratio(result: VariantResult, base: VariantResult) -> VariantResult:
    """Add the ratio of two latencies that were measured at different times."""
    if "latency" not in result.metrics or "latency" not in base.metrics:
        return result
    latency_ratio = counted(1.0)
    if result.id != base.id:
        latency_ratio = ratio(base.metrics["latency"], result.metrics["latency"])
    return replace(result, metrics={**result.metrics, "latency_ratio": latency_ratio})


def _display_name(model: AnyModel) -> str:
    if isinstance(model, Model):
        return model.name
    return str(model)


def distinct_names(names: Sequence[str]) -> list[str]:
    """Stems of file names if these are distinct, else the names as they are.

    >>> distinct_names(["a/int8.onnx", "b/int4.onnx"])
    ['int8', 'int4']
    >>> distinct_names(["a/m.onnx", "b/m.onnx"])
    ['a/m.onnx', 'b/m.onnx']
    """
    stems = [Path(name).stem for name in names]
    if len(set(stems)) < len(set(names)):
        return list(names)
    return stems
