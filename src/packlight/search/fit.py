"""Search for the variant of a model that keeps its budgets; measurements are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from packlight.compression.recipe_text import AnyRecipe, read_recipe, recipe_name
from packlight.disk import replacing
from packlight.model import stored_size
from packlight.records import Budget, Device, Outcome, Recipe, SessionOptions, canonical
from packlight.records.exploration import Goal
from packlight.runtime.progress import Progress, silent
from packlight.search.app import AppModel, AppSearch, AppStudy, check_shared
from packlight.search.bench import Bench
from packlight.search.device_costs import DeviceCosts, limits_on_all
from packlight.search.explain import explain
from packlight.search.explore import Explorer, default_goal
from packlight.search.parallel import Backend, Workers
from packlight.search.report_pages import write_report
from packlight.search.steering import SplitTask, split_task
from packlight.search.study import Study, keep_outcome
from packlight.search.trials import OnResult, Trials, ignore_result
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import Task

BEST_RECIPE = "best.toml"
"""File of a project with the recipe of the chosen variant."""

APP_FILE = "app.json"
"""File of an app's project with what was chosen for every model."""


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
        jobs: variants that are made and evaluated at a time.
        backend: where: processes of this machine, or a Ray or Dask cluster.
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
    backend: Backend = "loky"
    progress: Progress = silent
    on_result: OnResult = ignore_result


def fit(
    opened: Opened, task: Task, budget: Budget, project: Path, settings: SearchSettings
) -> Study:
    """Find the variant that is best for a goal among those that meet every budget.

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
        store.check_records()
        if settings.recipes:
            trials = _try_recipes(_bench(store, opened, task, settings), budget, devices, settings)
            return finished(trials, trials.outcome())
        split = split_task(task)
        bench = _bench(store, opened, split.judging, settings)
        explorer = _explorer(bench, split, budget, devices, settings)
        explorer.search()
        return _explored(explorer)


def _explored(explorer: Explorer) -> Study:
    """The study of a search for forms, with how it chose."""
    outcome = explorer.run.trials.outcome()
    warnings = (*outcome.warnings, *explorer.run.warnings, *explorer.run.workers.warnings)
    outcome = replace(outcome, exploration=explorer.exploration(), warnings=warnings)
    return finished(explorer.run.trials, outcome, finds_causes=not explorer.run.is_out_of_reach)


def finished(trials: Trials, outcome: Outcome, *, finds_causes: bool = True) -> Study:
    """Explain an outcome, write its report and the chosen recipe, and keep it in the project."""
    bench = trials.bench
    project = bench.store.folder
    outcome = replace(outcome, planned=len(trials.results))
    bench.progress("done", trials.steps, trials.steps)
    outcome = explain(bench, outcome, trials.evaluations, finds_causes=finds_causes)
    report = project / "report.html"
    outcome = replace(outcome, report=str(report))
    keep_outcome(bench.store, outcome)
    write_report(project, report, f"{outcome.model} on {outcome.task}", bench.task)
    study = Study(outcome)
    _write_recipe(study)
    return study


def fit_app(
    models: Mapping[str, AppModel], budget: Budget, project: Path, settings: SearchSettings
) -> AppStudy:
    """Find a variant of each model of an app, so that all together keep the shared budgets.

    Args:
        models: by name.
        budget: that they share: size, download and peak memory of all.
        project: folder; each model has a project of its name in it.
        settings: of the search; recipes, devices and a goal are not used.

    Raises:
        InputError: a model, a task or a budget cannot be used.
    """
    check_shared(budget)
    with ExitStack() as stack:
        explorers = []
        for name, model in models.items():
            store = stack.enter_context(Store.open(project / name))
            store.check_records()
            split = split_task(model.task)
            bench = _bench(store, model.opened, split.judging, settings)
            explorers.append(_explorer(bench, split, model.budget, (), settings))
        search = AppSearch(tuple(models), explorers, budget, project)
        outcome = search.run()
        studies = {}
        for part, explorer in zip(outcome.parts, explorers, strict=True):
            explorer.run.trials.choose(part.chosen)
            studies[part.name] = _explored(explorer)
    with replacing(project / APP_FILE) as file:
        file.write(canonical(outcome).encode())
    return AppStudy(outcome, studies)


def _explorer(
    bench: Bench, split: SplitTask, budget: Budget, devices: Sequence[DeviceCosts],
    settings: SearchSettings,
) -> Explorer:  # fmt: skip
    """A search for forms that has not begun."""
    trials = Trials(
        bench, budget, devices, settings.goal or default_goal(budget),
        settings.allow_slower, settings.on_result,
    )  # fmt: skip
    return Explorer(trials, split, settings.time, workers=Workers(settings.jobs, settings.backend))


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
