"""Search for the variant of a model that keeps its budgets; measurements are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packlight.compression.recipe_text import AnyRecipe, read_recipe, recipe_name
from packlight.disk import replacing
from packlight.model import stored_size
from packlight.records import Budget, Device, Recipe, SessionOptions
from packlight.records.exploration import Goal
from packlight.report import write_report
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import Bench
from packlight.search.device_costs import DeviceCosts, limits_on_all
from packlight.search.explain import explain, inputs_of
from packlight.search.explore import Explorer, default_goal
from packlight.search.steering import split_task
from packlight.search.study import Study, keep_outcome
from packlight.search.trials import OnResult, Trials, ignore_result
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import Task

BEST_RECIPE = "best.toml"
"""File of a project with the recipe of the chosen variant."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """What a search is told besides its model, task and budgets.

    Attributes:
        recipes: to try in place of a search for forms.
        devices: descriptions with the unit of each that computes; budgets must be kept by all.
        goal: what is sought within the budgets; None for what the budgets suggest.
        options: of every session.
        allow_slower: whether a variant measured slower than the original may be chosen.
        seed: of everything random.
        seconds: to spend on the latency of one variant.
        time: seconds that the search may take; 0 for as long as it needs.
        jobs: mixes that are made and evaluated at a time.
        progress: told what is being done.
        on_result: called with each finished variant.
    """

    recipes: Sequence[AnyRecipe] = ()
    devices: Sequence[tuple[Device, str]] = ()
    goal: Goal | None = None
    options: SessionOptions = SessionOptions()  # noqa: RUF009 - frozen
    allow_slower: bool = False
    seed: int = 0
    seconds: float = 2.0
    time: float = 0.0
    jobs: int = 1
    progress: Progress = silent
    on_result: OnResult = ignore_result


def fit(
    opened: Opened, task: Task, budget: Budget, project: Path, settings: SearchSettings
) -> Study:
    """Find the variant that is best for a goal among those that keep every budget.

    Every measurement is committed before the next starts. The same call on the same project
    measures only what is missing, and gives the same ids. After each variant the choice among
    those so far is committed, so that a stopped search can be shown.

    Raises:
        InputError: the model, the task, a recipe or a budget cannot be used.
    """
    size = stored_size(opened.path)
    devices = [
        DeviceCosts(opened.model, size, task, device, unit) for device, unit in settings.devices
    ]
    budget = limits_on_all(devices, budget)
    with Store.open(project) as store:
        if settings.recipes:
            bench = _bench(store, opened, task, settings)
            trials = _try_recipes(bench, budget, devices, settings)
            outcome = trials.outcome()
        else:
            split = split_task(task)
            bench = _bench(store, opened, split.judging, settings)
            trials = Trials(
                bench, budget, devices, settings.goal or default_goal(budget),
                settings.allow_slower, settings.on_result,
            )  # fmt: skip
            explorer = Explorer(trials, split, settings.time, settings.jobs)
            exploration = explorer.run()
            outcome = trials.outcome()
            warnings = (*outcome.warnings, *explorer.warnings)
            outcome = replace(outcome, exploration=exploration, warnings=warnings)
        bench = trials.bench
        outcome = replace(outcome, planned=len(trials.results))
        bench.progress("done", trials.steps, trials.steps)
        outcome = explain(bench, outcome, trials.evaluations)
        inputs = inputs_of(bench, outcome.contrasts)
        report = project / "report.html"
        write_report(outcome, report, f"{opened.model.name} on {task.name}", inputs)
        outcome = replace(outcome, report=str(report))
        keep_outcome(store, outcome)
    study = Study(outcome)
    _write_recipe(study)
    return study


def _bench(store: Store, opened: Opened, task: Task, settings: SearchSettings) -> Bench:
    return Bench(
        store, opened, task, settings.options, settings.seed, settings.seconds, settings.progress
    )


def _try_recipes(
    bench: Bench, budget: Budget, devices: Sequence[DeviceCosts], settings: SearchSettings
) -> Trials:
    """Measure the recipes that were asked for, all on every sample."""
    named = [named_recipe(recipe, settings.seed) for recipe in settings.recipes]
    tried, left_out = runnable(devices, named)
    trials = Trials(
        bench, budget, devices, settings.goal or "balance",
        settings.allow_slower, settings.on_result, left_out, len(tried) + 1,
    )  # fmt: skip
    trials.measure_original()
    for name, recipe in tried:
        trials.try_recipe(name, recipe)
    return trials


def named_recipe(recipe: AnyRecipe, seed: int) -> tuple[str, Recipe]:
    """A variant's name and its recipe."""
    return recipe_name(recipe), read_recipe(recipe, seed)


def runnable(
    devices: Sequence[DeviceCosts], tried: Sequence[tuple[str, Recipe]]
) -> tuple[tuple[tuple[str, Recipe], ...], list[str]]:
    """Recipes that every device can run, and sentences about the others."""
    kept = list(tried)
    sentences = []
    for costs in devices:
        left_out: dict[str, list[str]] = {}
        for name, recipe in list(kept):
            refusal = costs.refusal(recipe)
            if refusal is not None:
                kept.remove((name, recipe))
                left_out.setdefault(f"{refusal.reason}; {refusal.remedy}", []).append(name)
        sentences += [
            f"left out for {costs.name}: {', '.join(names)} ({reason})"
            for reason, names in left_out.items()
        ]
    return tuple(kept), sentences


def _write_recipe(study: Study) -> None:
    """Write the recipe of the chosen variant beside the report."""
    best = study.best
    if best is not None and best.record.recipe:
        path = study.project / BEST_RECIPE
        with replacing(path) as file:
            file.write(str(best.recipe).encode())
