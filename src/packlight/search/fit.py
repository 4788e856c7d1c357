"""Search for the variant of a model that keeps its budgets; measurements are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from packlight.compression.recipe_text import AnyRecipe
from packlight.errors import ModelError, RecipeError, TaskError
from packlight.model import stored_size
from packlight.records import (
    Budget,
    Contrast,
    Device,
    Evaluation,
    Outcome,
    Recipe,
    SessionOptions,
    Variant,
    VariantResult,
)
from packlight.report import write_report
from packlight.runtime import machine
from packlight.runtime.progress import Progress, silent
from packlight.search import choice
from packlight.search.bench import Bench
from packlight.search.device_costs import DeviceCosts
from packlight.search.explain import explain, inputs_of
from packlight.search.recipe_ladder import ladder, named
from packlight.search.study import Study, keep_contrasts, keep_outcome
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import Task

STEPS = 4
"""Steps committed for each variant: model and size, quality, latency, memory."""

Results = Sequence[VariantResult]
OnResult = Callable[[VariantResult, int, int], None]
"""Called with each finished variant, its number from 1, and how many there will be."""


def ignore_result(result: VariantResult, number: int, total: int) -> None:
    """Do nothing with a finished variant."""
    del result, number, total


def fit(
    opened: Opened,
    task: Task,
    budget: Budget,
    project: Path,
    *,
    recipes: Sequence[AnyRecipe] = (),
    device: Device | None = None,
    unit: str = "",
    options: SessionOptions | None = None,
    allow_slower: bool = False,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress = silent,
    on_result: OnResult = ignore_result,
) -> Study:
    """Try recipes from free to costly, measure all, and choose the best that keeps every budget.

    Every measurement is committed before the next starts. The same call on the same project
    measures only what is missing, and gives the same ids. After each variant the choice among
    those so far is committed, so that a stopped search can be shown.

    Args are those of ``packlight.fit``; the model is opened, and the task is loaded.

    Raises:
        InputError: the model, the task, a recipe or a budget cannot be used.
    """
    tried = tuple(named(recipe, seed) for recipe in recipes) or ladder(task, seed)
    costs = None
    left_out: Sequence[str] = ()
    if device is not None:
        size = stored_size(opened.path)
        costs = DeviceCosts(opened.model, size, task, device, unit)
        budget = costs.limits(budget)
        tried, left_out = runnable(costs, tried)
    with Store.open(project) as store:
        bench = Bench(store, opened, task, options or SessionOptions(), seed, seconds, progress)

        def keep_partial(results: Results, evaluations: Sequence[Evaluation]) -> None:
            new = evaluations[1 + len(contrasts) :]  # all but the original's
            contrasts.extend(contrasts_of(bench, new))
            keep_contrasts(store, contrasts)
            partial = decide(bench, budget, results, evaluations, allow_slower)
            keep_outcome(store, with_device(replace(partial, planned=planned), costs, left_out))
            on_result(results[-1], len(results), planned)

        contrasts: list[Contrast] = []
        planned = len(tried) + 1
        results, evaluations = _measure_all(bench, tried, budget, keep_partial, costs)
        outcome = decide(bench, budget, results, evaluations, allow_slower)
        outcome = with_device(replace(outcome, planned=planned), costs, left_out)
        outcome = explain(bench, outcome, evaluations)
        inputs = inputs_of(bench, outcome.contrasts)
        report = project / "report.html"
        write_report(outcome, report, f"{opened.model.name} on {task.name}", inputs)
        outcome = replace(outcome, report=str(report))
        keep_outcome(store, outcome)
    return Study(outcome)


def _measure_all(
    bench: Bench,
    tried: Sequence[tuple[str, Recipe]],
    budget: Budget,
    keep_partial: Callable[[Results, Sequence[Evaluation]], None],
    costs: DeviceCosts | None,
) -> tuple[list[VariantResult], list[Evaluation]]:
    """Measure the original and every recipe; a recipe that fails is recorded with its error."""
    choice.check_names(budget, bench.task.metric)
    total = STEPS * (len(tried) + 1)
    base, evaluation = measure_variant(bench, bench.original, 0, total)
    if costs is not None:
        base = replace(base, metrics={**base.metrics, **costs.original()})
    choice.check_measured(budget, base.metrics)
    results = [choice.with_verdict(base, budget, base.metrics)]
    evaluations = [evaluation]
    measured = {bench.original.model: (results[0], evaluation)}
    keep_partial(results, evaluations)
    for index, (name, recipe) in enumerate(tried, start=1):
        try:
            variant = bench.variant(name, recipe)
            earlier = measured.get(variant.model)
            if earlier is not None:
                results.append(_same_result(variant, *earlier))
                evaluations.append(replace(earlier[1], variant=variant.id))
                keep_partial(results, evaluations)
                continue
            result, evaluation = measure_variant(bench, variant, STEPS * index, total)
        except (ModelError, TaskError, RecipeError) as error:
            results.append(_failed_result(bench, name, recipe, str(error)))
        else:
            if costs is not None:
                result = replace(result, metrics={**result.metrics, **costs.predict(recipe)})
            result = choice.with_verdict(result, budget, base.metrics)
            measured[variant.model] = (result, evaluation)
            results.append(result)
            evaluations.append(evaluation)
        keep_partial(results, evaluations)
    bench.progress("done", total, total)
    return results, evaluations


def measure_variant(
    bench: Bench, variant: Variant, done: int, total: int, *, costs: bool = True
) -> tuple[VariantResult, Evaluation]:
    """Measure size and quality of a variant and, with ``costs``, latency and memory."""
    metrics = dict(bench.size(variant).metrics)
    bench.progress(f"{variant.name}: quality", done + 1, total)
    quality = bench.quality(variant)
    metrics.update(quality.metrics)
    if costs:
        bench.progress(f"{variant.name}: latency", done + 2, total)
        metrics.update(bench.latency(variant).metrics)
        bench.progress(f"{variant.name}: memory", done + 3, total)
        metrics.update(bench.memory(variant).metrics)
    result = replace(
        _unmeasured(variant), metrics=metrics, groups=quality.groups, labels=quality.labels
    )
    return result, quality


def _unmeasured(variant: Variant) -> VariantResult:
    """Result of a variant before anything is measured."""
    return VariantResult(
        id=variant.id,
        parent=variant.parent,
        name=variant.name,
        recipe=variant.recipe.text(),
        file=variant.file,
        refusals=variant.refusals,
        changes=variant.changes,
    )


def _same_result(variant: Variant, earlier: VariantResult, evaluation: Evaluation) -> VariantResult:
    """Result of a recipe that made a model which is measured already."""
    return replace(
        _unmeasured(variant),
        meets=earlier.meets,
        verdict=earlier.verdict,
        metrics=earlier.metrics,
        groups=earlier.groups,
        error=earlier.error,
        labels=(f"same as {earlier.name}", *evaluation.labels),
        same_as=earlier.id,
    )


def contrasts_of(bench: Bench, evaluations: Sequence[Evaluation]) -> list[Contrast]:
    """Contrasts of all variants with the original, each computed once."""
    contrasts = []
    for evaluation in evaluations:
        variant = bench.store.get("variant", evaluation.variant, Variant)
        if variant is not None and variant.id != bench.original.id:
            contrasts.append(bench.stored_contrast(variant, evaluation))
    return contrasts


def runnable(
    costs: DeviceCosts, tried: Sequence[tuple[str, Recipe]]
) -> tuple[tuple[tuple[str, Recipe], ...], list[str]]:
    """Recipes that a device can run, and sentences about the others."""
    kept = []
    left_out: dict[str, list[str]] = {}
    for name, recipe in tried:
        refusal = costs.refusal(recipe)
        if refusal is None:
            kept.append((name, recipe))
        else:
            left_out.setdefault(f"{refusal.reason}; {refusal.remedy}", []).append(name)
    return tuple(kept), [
        f"left out for {costs.name}: {', '.join(names)} ({reason})"
        for reason, names in left_out.items()
    ]


def with_device(outcome: Outcome, costs: DeviceCosts | None, left_out: Sequence[str]) -> Outcome:
    """Add the device and what was left out for it to an outcome."""
    if costs is None:
        return outcome
    return replace(outcome, device=costs.name, notes=(*outcome.notes, *left_out))


def _failed_result(bench: Bench, name: str, recipe: Recipe, error: str) -> VariantResult:
    return VariantResult(
        bench.key_of(recipe), bench.original.id, name, recipe.text(), "", error=error
    )


def decide(
    bench: Bench,
    budget: Budget,
    results: Sequence[VariantResult],
    evaluations: Sequence[Evaluation],
    allow_slower: bool,
) -> Outcome:
    """Choose a variant and collect the outcome of all measurements."""
    base = results[0]
    best = choice.best(results, allow_slower)
    shown = best or choice.nearest(results, budget, base.metrics, allow_slower)
    detectable = {evaluation.variant: evaluation.detectable for evaluation in evaluations}
    fine = choice.too_fine(budget, shown, detectable[base.id], detectable[shown.id])
    outcome = describe_outcome(bench, results, budget, detectable[shown.id])
    return replace(
        outcome,
        best=best.id if best else None,
        verdict=best.verdict if best else "misses",
        misses=choice.misses(shown, budget, base.metrics),
        warnings=(*outcome.warnings, *fine, *choice.slower_fits(results, best)),
        front=choice.front(results),
        project=str(bench.store.folder),
    )


def describe_outcome(
    bench: Bench, results: Sequence[VariantResult], budget: Budget, detectable: float
) -> Outcome:
    """Outcome with results and conditions of measurement, before anything is chosen."""
    return Outcome(
        best=None,
        verdict="unjudged",
        misses=(),
        warnings=bench.task.warnings,
        notes=bench.remarks,
        front=(),
        variants=tuple(results),
        budget=budget,
        metric=bench.task.metric.name,
        detectable=detectable,
        model=bench.opened.model.name,
        task=bench.task.name,
        samples=len(bench.task.samples),
        calibration=len(bench.task.calibration),
        session=bench.options,
        machine=machine(),
        project="",
    )
