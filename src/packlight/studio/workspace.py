"""Models, projects and tasks that the studio shows, each opened once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from packlight import __version__
from packlight.api.plan_in_process import target_of, what_if
from packlight.api.profile import profile
from packlight.api.try_recipe import tried_results
from packlight.comparison import contrast
from packlight.errors import InputError
from packlight.evaluation import columns
from packlight.model import Model
from packlight.planning.what_if import WhatIf
from packlight.records import (
    Budget,
    Contrast,
    Evaluation,
    Layers,
    Outcome,
    Profile,
    VariantResult,
    parse_budget,
)
from packlight.search.steering import split_task
from packlight.search.study import LAST, OUTCOME
from packlight.sources.opening import ZOO, open_model, task_for
from packlight.store import Store
from packlight.studio.graph import edges_of, modules_of
from packlight.studio.job_child import LAYERS, SENSITIVITY
from packlight.studio.pages import (
    ChoiceRow,
    Frame,
    ModelChoice,
    Picture,
    SavedRecipe,
    SavedView,
    Sensitivity,
)
from packlight.studio.pictures import picture_of
from packlight.studio.settings import Once, Settings
from packlight.studio.views.compare import SamplePair
from packlight.studio.views.overview import frame_of
from packlight.studio.views.what_if import choice_rows
from packlight.task import Task, read_table

T = TypeVar("T")

VIEWS = "studio-view"
RECIPES = "studio-recipe"
FILE_ID = "file"
"""Start of the ids of models that are files, not variants of a project."""


class Workspace:
    """Opens what the pages show.

    Args:
        settings: what to open.
        task: of the search, where it is at hand; else the settings name it.

    Raises:
        InputError: the project cannot be opened.
    """

    def __init__(self, settings: Settings, task: Task | None = None) -> None:
        self.settings = settings
        self.given_task = task
        self.once = Once()
        self.what_if_lock = threading.Lock()
        self.latest_values: dict[str, tuple[float, object]] = {}
        self.latest_lock = threading.RLock()
        self.store: Store | None = None
        if settings.project is not None:
            self.store = Store.open(settings.project)

    def close(self) -> None:
        """Close the project."""
        if self.store is not None:
            self.store.close()

    def version(self) -> float:
        """Number that changes with every measurement of the project."""
        if self.store is None:
            return 0.0
        return self.store.last_change()

    def latest(self, name: str, make: Callable[[Store], T], empty: T) -> T:
        """A value of the project as it is now, made anew where the project has changed.

        Args:
            name: of the value.
            make: that reads it from the store.
            empty: the value without a project.
        """
        if self.store is None:
            return empty
        version = self.version()
        with self.latest_lock:
            stored = self.latest_values.get(name)
            if stored is None or stored[0] != version:
                stored = (version, make(self.store))
                self.latest_values[name] = stored
        return cast("T", stored[1])

    def outcome_or_none(self) -> Outcome | None:
        """The search as it is now; None where nothing has been measured yet."""
        return self.latest("outcome", lambda store: store.get(OUTCOME, LAST, Outcome), None)

    def outcome(self) -> Outcome:
        """The search as it is now.

        Raises:
            InputError: there is none, with what to do.
        """
        outcome = self.outcome_or_none()
        if outcome is None:
            raise InputError(
                "nothing has been measured yet. Run packlight fit MODEL --task T --budget B, and "
                "open its project here"
            )
        return outcome

    def tried(self, outcome: Outcome) -> tuple[VariantResult, ...]:
        """Variants made from the studio."""
        return self.latest("tried", lambda store: tried_results(store, outcome), ())

    def results(self) -> dict[str, VariantResult]:
        """Every variant by id, the original first."""
        outcome = self.outcome()
        return {result.id: result for result in (*outcome.variants, *self.tried(outcome))}

    def models(self) -> list[ModelChoice]:
        """Models that pages can show: variants with a file, then named files."""
        choices: list[ModelChoice] = []
        outcome = self.outcome_or_none()
        if outcome is not None:
            original = outcome.variants[0].id
            for result in (*outcome.variants, *self.tried(outcome)):
                if result.file:
                    role = "best" if result.id == outcome.best else "variant"
                    if result.id == original:
                        role = "original"
                    choices.append(ModelChoice(result.id, result.name, role))  # type: ignore[arg-type]
        for index, name in enumerate(self.settings.models):
            choices.append(ModelChoice(f"{FILE_ID}{index}", Path(name).name, "file"))
        return choices

    def first_model(self) -> str:
        """Id of the model that is shown where none is named."""
        choices = self.models()
        if not choices:
            self.outcome()  # which says what to do
        return choices[0].id

    def path_of(self, key: str) -> str:
        """File or name of a model.

        Raises:
            InputError: there is no such model.
        """
        if key.startswith(FILE_ID):
            index = key.removeprefix(FILE_ID)
            if index.isdecimal() and int(index) < len(self.settings.models):
                return self.settings.models[int(index)]
            raise InputError(f"there is no model '{key}'")
        result = self.results().get(key)
        if result is None or not result.file or self.store is None:
            raise InputError(f"there is no model '{key}'")
        store = self.store
        file = result.file
        return str(self.once.get(("file", file), lambda: store.checked_path(file)))

    def model(self, key: str) -> Model:
        """A model, opened once."""
        path = self.path_of(key)
        return self.once.get(("model", path), lambda: open_model(path).model)

    def device(self) -> str:
        """Name of the device that costs are predicted for."""
        return self.settings.device or target_of("", "", Budget()).device.name

    def profile(self, key: str, *, measured: bool = False) -> Profile:
        """Costs of a model, operator by operator."""
        path = self.path_of(key)

        def make() -> Profile:
            task = self.task_or_none()
            return profile(
                path, task, measure=measured, device=self.device(), unit=self.settings.unit
            )

        return self.once.get(("profile", path, measured), make)

    def edges(self, key: str) -> list[tuple[int, int]]:
        """Edges between the operators of a model's profile."""
        names = [operator.name for operator in self.profile(key).operators]
        return self.once.get(("edges", self.path_of(key)), lambda: edges_of(self.model(key), names))

    def modules(self, key: str) -> tuple[str, ...]:
        """Path of the module of each operator of a model's profile."""
        profile = self.profile(key)
        edges = self.edges(key)
        return self.once.get(("modules", self.path_of(key)), lambda: modules_of(profile, edges))

    def what_if(self, key: str) -> WhatIf:
        """Predictions for a model; use it under ``what_if_lock``."""
        path = self.path_of(key)

        def make() -> WhatIf:
            inputs = {
                name: tuple(size for size in sizes if size is not None)
                for name, sizes in self.profile(key).inputs.items()
                if None not in sizes
            }
            return what_if(self.model(key), self.device(), inputs=inputs, unit=self.settings.unit)

        return self.once.get(("what if", path), make)

    def choice_rows(self, key: str) -> tuple[ChoiceRow, ...]:
        """Effects of single steps on each operator."""
        sensitivity = self.sensitivity(key)
        found = sensitivity.model if sensitivity else ""

        def make() -> tuple[ChoiceRow, ...]:
            predictions = self.what_if(key)
            with self.what_if_lock:
                return choice_rows(predictions, sensitivity)

        return self.once.get(("choices", self.path_of(key), found), make)

    def sensitivity(self, key: str) -> Sensitivity | None:
        """Measured damage of single steps; None where it was not measured."""
        if self.store is None:
            return None
        return self.store.get(SENSITIVITY, key, Sensitivity)

    def budget(self) -> Budget:
        """Budgets of the search, or of the command line."""
        if self.settings.project is None:
            return parse_budget(self.settings.budget)
        return self.outcome().budget

    def metric(self) -> str:
        """Name of the task's metric; empty without a search."""
        outcome = self.outcome_or_none()
        if outcome is None:
            return ""
        return outcome.metric

    def task_name(self) -> str:
        """The task that is named, or that of the search."""
        if self.settings.task:
            return self.settings.task
        outcome = self.outcome_or_none()
        if outcome is not None and outcome.task.startswith(ZOO):
            return outcome.task
        return ""

    def task_or_none(self) -> Task | None:
        """The task, opened once; None where none is named."""
        if self.given_task is not None:
            return self.given_task
        name = self.task_name()
        if not name:
            return None
        key = self.first_model()
        return self.once.get(("task", name), lambda: task_for(name, self.model(key)))

    def judging_task(self) -> Task | None:
        """The samples that decide, apart from those that steered a search; None where unknown."""
        task = self.task_or_none()
        outcome = self.outcome_or_none()
        if task is None or outcome is None or len(task.samples) == outcome.samples:
            return task
        judging = self.once.get(("judging", self.task_name()), lambda: split_task(task).judging)
        if len(judging.samples) != outcome.samples:
            return None
        return judging

    def task_reason(self) -> str:
        """What to do so that samples can be shown; empty where they can."""
        task = self.task_or_none()
        if task is None:
            return "Start the studio with --task T, as in packlight fit, to see the samples."
        if self.judging_task() is None:
            return (
                f"The task has {len(task.samples):,} samples, and the search had others. Start the "
                "studio with the task of the search to see them."
            )
        return ""

    def runs_reason(self) -> str:
        """What to do so that recipes can be run; empty where they can."""
        if self.settings.project is None:
            return "Run packlight fit MODEL --task T --budget B first, and open its project here."
        if not self.task_name():
            return "Start the studio with --task T, as in packlight fit, to run recipes."
        return ""

    def frame(self) -> Frame:
        """Parts that every page shows."""
        models = self.models()
        outcome = self.outcome_or_none()
        if outcome is None or self.settings.project is None:
            name = models[0].name if models else ""
            return Frame(
                title=name or str(self.settings.project or ""), model=name,
                task=self.task_name(), kind="model" if models else "project", budgets=(),
                shown="", budgets_of={}, variants=tuple(models),
                saves=self.store is not None, runs=False, runs_reason=self.runs_reason(),
                finished=False, progress=(0, 0), version=__version__,
            )  # fmt: skip
        title = self.settings.title or self.settings.project.resolve().name
        return frame_of(outcome, title, models, self.runs_reason(), self.tried(outcome))

    def layers(self, variant: str) -> Layers | None:
        """A variant inside; None where it was not measured."""
        if self.store is None:
            return None
        return self.store.get(LAYERS, variant, Layers)

    def contrasts(self) -> dict[str, Contrast]:
        """Stored contrasts with the original by variant id, the latest of each."""
        return self.latest(
            "contrasts",
            lambda store: {record.variant: record for record in store.all("contrast", Contrast)},
            {},
        )

    def contrast(self, variant: str) -> Contrast | None:
        """Contrast with the original: the stored one, else from the stored results of samples.

        None where the samples were not measured, or the task is not at hand.
        """
        stored = self.contrasts().get(variant)
        pair = self.samples(variant)
        task = self.judging_task()
        if stored is not None or pair is None or task is None:
            return stored
        evaluation = self.evaluations()[variant]
        return self.once.get(
            ("contrast", evaluation.samples, evaluation.beside),
            lambda: contrast(
                task.metric,
                pair.before,
                pair.after,
                pair.groups,
                variant=variant,
                reference=evaluation.reference,
                distance=evaluation.distance,
                seed=evaluation.seed,
            ),
        )

    def evaluations(self) -> Mapping[str, Evaluation]:
        """Evaluations by variant id, the latest of each."""
        empty: dict[str, Evaluation] = {}
        return self.latest(
            "evaluations",
            lambda store: {record.variant: record for record in store.all("quality", Evaluation)},
            empty,
        )

    def samples(self, variant: str) -> SamplePair | None:
        """Results of single samples of a variant; None where they were not measured."""
        evaluations = self.evaluations()
        evaluation = evaluations.get(variant)
        store = self.store
        if store is None or evaluation is None or not evaluation.samples or not evaluation.beside:
            return None

        def make() -> SamplePair:
            before, after = (
                read_table(store.checked_path(name).read_bytes())
                for name in (evaluation.beside, evaluation.samples)
            )
            count = len(before.rows)
            groups = {name: rows for name, rows in self.groups().items() if len(rows) == count}
            return SamplePair.of(before, after, groups)

        key = ("samples", evaluation.samples, evaluation.beside, self.task_name())
        return self.once.get(key, make)

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Group columns of the task; empty where it is not at hand."""
        task = self.judging_task()
        if task is None:
            return {}
        return columns(task)

    def pictures(self, samples: Sequence[int]) -> dict[int, Picture]:
        """Inputs of samples to look at; empty where the task is not at hand."""
        task = self.judging_task()
        if task is None:
            return {}
        return {index: picture_of(task.samples[index]) for index in samples}

    def views(self) -> tuple[SavedView, ...]:
        """Named views of the project; one with an empty address was deleted."""
        if self.store is None:
            return ()
        return tuple(view for view in self.store.all(VIEWS, SavedView) if view.address)

    def save_view(self, view: SavedView) -> None:
        """Save a named view.

        Raises:
            InputError: there is no project to save it in.
        """
        self.opened_store().put(VIEWS, view.name, view)

    def recipes(self) -> tuple[SavedRecipe, ...]:
        """Named recipes of the project."""
        if self.store is None:
            return ()
        return self.store.all(RECIPES, SavedRecipe)

    def save_recipe(self, recipe: SavedRecipe) -> None:
        """Save a named recipe.

        Raises:
            InputError: there is no project to save it in.
        """
        self.opened_store().put(RECIPES, recipe.name, recipe)

    def opened_store(self) -> Store:
        """The project's store.

        Raises:
            InputError: only a model is shown.
        """
        if self.store is None:
            raise InputError(
                "views and recipes are saved in a project; this is a model alone. Run packlight "
                "fit first, and open its project here"
            )
        return self.store
