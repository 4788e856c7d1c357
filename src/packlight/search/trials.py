"""Variants of one search, measured one after another; every measurement is committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from packlight.errors import ModelError, RecipeError, TaskError
from packlight.records import (
    Budget,
    Contrast,
    Evaluation,
    Outcome,
    Recipe,
    Variant,
    VariantResult,
)
from packlight.records.exploration import Goal
from packlight.runtime import machine
from packlight.search import choice
from packlight.search.bench import Bench
from packlight.search.device_costs import DeviceCosts, predicted_on_all
from packlight.search.study import keep_contrasts, keep_outcome

STEPS = 4
"""Steps committed for each variant: model and size, quality, latency, memory."""

Results = Sequence[VariantResult]
OnResult = Callable[[VariantResult, int, int], None]
"""Called with each finished variant, its number from 1, and how many there will be."""


def ignore_result(result: VariantResult, number: int, total: int) -> None:
    """Do nothing with a finished variant."""
    del result, number, total


@dataclass
class Trials:
    """Variants that a search has measured so far.

    Attributes:
        bench: that measures.
        budget: to keep.
        devices: that costs are predicted for; none where all is measured here.
        goal: what is sought within the budgets.
        allow_slower: whether a variant measured slower than the original may be chosen.
        on_result: called with each finished variant.
        left_out: sentences about recipes that a device cannot run.
        planned: variants that will be tried, about, the original included.
        preferred: id of the variant that is chosen, whatever its costs; empty for the best.
    """

    bench: Bench
    budget: Budget
    devices: Sequence[DeviceCosts] = ()
    goal: Goal = "balance"
    allow_slower: bool = False
    on_result: OnResult = ignore_result
    left_out: Sequence[str] = ()
    planned: int = 1
    results: list[VariantResult] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    contrasts: list[Contrast] = field(default_factory=list)
    measured: dict[str, tuple[VariantResult, Evaluation]] = field(default_factory=dict)
    preferred: str = ""

    @property
    def base(self) -> VariantResult:
        """The original."""
        return self.results[0]

    def measure_original(self) -> None:
        """Measure the original, and check that every budget can be judged."""
        bench = self.bench
        choice.check_names(self.budget, bench.task.metric)
        base, evaluation = measure_variant(bench, bench.original, 0, self.steps)
        if self.devices:
            base = replace(base, metrics={**base.metrics, **predicted_on_all(self.devices, None)})
        choice.check_measured(self.budget, base.metrics)
        result = choice.with_verdict(base, self.budget, base.metrics)
        self.measured[bench.original.model] = (result, evaluation)
        self._keep(result, evaluation)

    @property
    def steps(self) -> int:
        """Steps of all variants."""
        return STEPS * max(self.planned, len(self.results) + 1)

    def try_recipe(self, name: str, recipe: Recipe) -> VariantResult:
        """Make and measure a variant; one that fails is recorded with its error."""
        bench = self.bench
        try:
            variant = bench.variant(name, recipe)
            earlier = self.measured.get(variant.model)
            if earlier is not None:
                result = _same_result(variant, *earlier)
                self._keep(result, replace(earlier[1], variant=variant.id))
                return result
            done = STEPS * len(self.results)
            result, evaluation = measure_variant(bench, variant, done, self.steps)
        except (ModelError, TaskError, RecipeError) as error:
            result = _failed_result(bench, name, recipe, str(error))
            self._keep(result, None)
            return result
        if self.devices:
            predicted = predicted_on_all(self.devices, recipe)
            result = replace(result, metrics={**result.metrics, **predicted})
        result = choice.with_verdict(result, self.budget, self.base.metrics)
        self.measured[variant.model] = (result, evaluation)
        self._keep(result, evaluation)
        return result

    def _keep(self, result: VariantResult, evaluation: Evaluation | None) -> None:
        """Commit the choice among the variants so far."""
        self.results.append(result)
        if evaluation is not None:
            self.evaluations.append(evaluation)
            if len(self.results) > 1:
                self.contrasts.extend(contrasts_of(self.bench, [evaluation]))
        keep_contrasts(self.bench.store, self.contrasts)
        planned = max(self.planned, len(self.results))
        keep_outcome(self.bench.store, replace(self.outcome(), planned=planned))
        self.on_result(self.results[-1], len(self.results), planned)

    def choose(self, variant: str) -> None:
        """Choose a variant that several models' budgets call for; the rest of the outcome stays."""
        self.preferred = variant

    def outcome(self) -> Outcome:
        """The choice among the variants so far."""
        outcome = decide(
            self.bench, self.budget, self.results, self.evaluations,
            allow_slower=self.allow_slower, goal=self.goal, preferred=self.preferred,
        )  # fmt: skip
        if not self.devices:
            return outcome
        names = "; ".join(costs.name for costs in self.devices)
        return replace(outcome, device=names, notes=(*outcome.notes, *self.left_out))


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


def _failed_result(bench: Bench, name: str, recipe: Recipe, error: str) -> VariantResult:
    return VariantResult(
        bench.key_of(recipe), bench.original.id, name, recipe.text(), "", error=error
    )


def decide(
    bench: Bench,
    budget: Budget,
    results: Sequence[VariantResult],
    evaluations: Sequence[Evaluation],
    *,
    allow_slower: bool,
    goal: Goal = "balance",
    preferred: str = "",
) -> Outcome:
    """Choose a variant and collect the outcome of all measurements."""
    base = results[0]
    best = choice.best(results, allow_slower, goal)
    for result in results:
        if result.id == preferred:
            best = result
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
