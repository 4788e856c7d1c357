"""Result of a search as a value: variants, the chosen one, and their project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from packlight.compression import uses_data
from packlight.errors import InputError
from packlight.model import Model
from packlight.presentation.frames import columns_of, frame_of
from packlight.presentation.markup import element
from packlight.presentation.overview import as_html, as_text
from packlight.records import (
    Change,
    Contrast,
    Findings,
    Group,
    Measurement,
    Meets,
    Miss,
    Outcome,
    Recipe,
    Refusal,
    Verdict,
    parse_recipe,
)
from packlight.records.outcome import VariantResult
from packlight.report import plot_frame
from packlight.search.study_mlflow import log_study
from packlight.search.study_plot import plot_outcome
from packlight.sources.opening import load
from packlight.store import Store

CONTRASTS = "contrasts"
"""Kind of the record with the contrasts of all variants."""

OUTCOME = "outcome"
"""Kind of the record that a finished search leaves in its project."""

LAST = "last"
"""Key of that record."""

TRIED = "tried"
"""Kind of the records of recipes that were measured one by one, beside those of the search."""


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """One variant of a study.

    Attributes:
        record: everything that was measured.
        project: folder that the file lies in.
    """

    record: VariantResult
    project: Path

    @property
    def name(self) -> str:
        """The recipe in short, or the original's name."""
        return self.record.name

    @property
    def id(self) -> str:
        """Digest of parent, recipe and calibration data."""
        return self.record.id

    @property
    def recipe(self) -> Recipe:
        """The recipe that made it; an empty one for the original."""
        return parse_recipe(self.record.recipe)

    @property
    def uses_data(self) -> bool:
        """Tell if the recipe needs calibration samples."""
        return uses_data(self.recipe)

    @property
    def metrics(self) -> Mapping[str, Measurement]:
        """Measurements by name: ``size`` (B), ``latency`` (s), ``latency_ratio``, ``drop``, ..."""
        return self.record.metrics

    @property
    def verdict(self) -> Verdict:
        """``fits``, ``undecided`` or ``misses``."""
        return self.record.verdict

    @property
    def meets(self) -> Mapping[str, Meets]:
        """``yes``, ``unclear`` or ``no`` for each budget, by its text."""
        return self.record.meets

    @property
    def groups(self) -> tuple[Group, ...]:
        """Metric and drop of every subgroup."""
        return self.record.groups

    @property
    def changes(self) -> tuple[Change, ...]:
        """Sites that the recipe changed."""
        return self.record.changes

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Sites that the recipe could not change, with reason and remedy."""
        return self.record.refusals

    @property
    def labels(self) -> tuple[str, ...]:
        """``faster``, ``slower``, ``larger``, ``runtime differs``."""
        return self.record.labels

    @property
    def error(self) -> str:
        """Reason why it could not be made or measured; empty if it could."""
        return self.record.error

    @property
    def file(self) -> Path:
        """Path of the ONNX file.

        Raises:
            InputError: the variant failed, so there is none.
        """
        if not self.record.file:
            reason = self.record.error or "its file was not kept"
            raise InputError(f"'{self.name}' has no file: {reason}")
        path = (self.project / self.record.file).resolve()
        if not path.is_relative_to(self.project.resolve()):
            raise InputError(f"a file of a project is inside it; '{self.record.file}' is not")
        return self.project / self.record.file

    def model(self) -> Model:
        """The model, read from its file."""
        return load(self.file)

    def __repr__(self) -> str:
        costs = ", ".join(f"{name}={self.metrics[name].value:g}" for name in self.shown())
        return f"Result({self.name!r}, {self.verdict}, {costs})"

    def shown(self) -> list[str]:
        """Names of the measurements that ``repr`` prints."""
        return [name for name in ("size", "latency_ratio", "drop") if name in self.metrics]


@dataclass(frozen=True, slots=True, repr=False)
class Study:
    """A search: ``study.best``, ``study.results``, ``study.to_dataframe()``.

    Attributes:
        outcome: the record that ``packlight fit --json`` prints.
    """

    outcome: Outcome

    @property
    def project(self) -> Path:
        """Folder with every file and measurement."""
        return Path(self.outcome.project)

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return Path(self.outcome.report)

    @property
    def results(self) -> tuple[Result, ...]:
        """Every variant, the original first."""
        return tuple(Result(record, self.project) for record in self.outcome.variants)

    @property
    def tried(self) -> tuple[Result, ...]:
        """Variants that were made one by one beside the search, as in the studio."""
        known = {record.id for record in self.outcome.variants}
        with Store.open(self.project) as store:
            records = store.all(TRIED, VariantResult)
        return tuple(Result(record, self.project) for record in records if record.id not in known)

    @property
    def original(self) -> Result:
        """The model that the search started from."""
        return self.results[0]

    @property
    def best(self) -> Result | None:
        """The chosen variant; None if none may meet every budget."""
        chosen = (result for result in self.results if result.id == self.outcome.best)
        return next(chosen, None)

    @property
    def front(self) -> tuple[Result, ...]:
        """Variants that no other beats on size, latency and drop at once."""
        return tuple(result for result in self.results if result.id in self.outcome.front)

    @property
    def verdict(self) -> Verdict:
        """``fits``, ``undecided`` or ``misses``."""
        return self.outcome.verdict

    @property
    def finished(self) -> bool:
        """Tell if every planned variant was tried; the same ``fit`` goes on with a stopped one."""
        return self.outcome.finished

    @property
    def misses(self) -> tuple[Miss, ...]:
        """Budgets that stand in the way; empty when one variant fits."""
        return self.outcome.misses

    @property
    def findings(self) -> Findings:
        """Causes of what the chosen or nearest variant lost."""
        return Findings(self.outcome.findings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the result less sure or less good than it looks."""
        return self.outcome.warnings

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of the data, the model and the device."""
        return self.outcome.notes

    def __len__(self) -> int:
        return len(self.outcome.variants)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __getitem__(self, name: str) -> Result:
        """The variant of a name or id, of the search or tried beside it.

        Raises:
            KeyError: there is none.
        """
        for results in (self.results, self.tried):
            for result in results:
                if name in (result.name, result.id):
                    return result
        known = ", ".join(result.name for result in (*self.results, *self.tried))
        raise KeyError(f"there is no variant '{name}'; there are {known}")

    @property
    def contrasts(self) -> Mapping[str, Contrast]:
        """Change of every measured variant from the original, sample by sample, by name."""
        with Store.open(self.project) as store:
            stored = store.get(CONTRASTS, LAST, Contrasts)
        by_id = {contrast.variant: contrast for contrast in stored.all} if stored else {}
        return {result.name: by_id[result.id] for result in self.results if result.id in by_id}

    def plot(self, x: str = "size", y: str = "drop", *, axes: Any = None) -> Any:
        """Plot the variants with matplotlib: two measurements, intervals and budgets.

        Args:
            x: name of a measurement, from left to right.
            y: from bottom to top.
            axes: to draw on; new ones by default.

        Returns:
            The ``matplotlib.axes.Axes``.

        Raises:
            InputError: matplotlib is not installed, or no variant has both measurements.
        """
        return plot_outcome(self.outcome, x, y, axes)

    def log_mlflow(self, experiment: str = "", *, models: bool = False) -> str:
        """Log the search to MLflow, with a nested run for each variant.

        Nothing goes anywhere but to the tracking server that MLflow is set to.

        Args:
            experiment: name; the active one by default.
            models: whether to upload the file of the chosen variant.

        Returns:
            Id of the run.

        Raises:
            InputError: MLflow is not installed.
        """
        return log_study(self, experiment, models=models)

    def to_dataframe(self) -> Any:
        """One row for each variant: value, ``_low`` and ``_high`` of every measurement.

        Returns:
            A ``pandas.DataFrame``.

        Raises:
            InputError: pandas is not installed.
        """
        return frame_of(map(_row_of, self.results))

    def studio(self, task: str = "") -> Any:
        """Show the pages of ``packlight studio`` in the cell of a notebook, without a server.

        Args:
            task: of the search, as ``fit`` took it, to see the samples; not needed for the zoo's.

        Raises:
            InputError: the project cannot be read.
        """
        return import_module("packlight.studio.offline").pages_of(self.project, task)

    def __repr__(self) -> str:
        return as_text(self.outcome)

    def _repr_html_(self) -> str:
        """The table with its trade-off plot."""
        return str(element("div", as_html(self.outcome), plot_frame(self.outcome)))


def _row_of(result: Result) -> dict[str, object]:
    """A result as the row of a table."""
    row: dict[str, object] = {
        "name": result.name,
        "id": result.id,
        "verdict": result.verdict,
        "labels": ", ".join(result.labels),
        "error": result.error,
    }
    return {**row, **columns_of(result.metrics)}


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Contrasts as a project stores them.

    Attributes:
        all: of every measured variant with the original.
    """

    VERSION: ClassVar[int] = 1

    all: tuple[Contrast, ...] = ()


def keep_contrasts(store: Store, contrasts: Sequence[Contrast]) -> None:
    """Commit the contrasts, so that ``Study.contrasts`` finds them."""
    store.put(CONTRASTS, LAST, Contrasts(tuple(contrasts)))


def keep_outcome(store: Store, outcome: Outcome) -> None:
    """Commit the outcome, so that ``open_project`` finds it."""
    store.put(OUTCOME, LAST, outcome)


def open_project(folder: str | Path) -> Study:
    """Open the project of a search; a stopped one has the variants that it finished.

    Args:
        folder: as ``fit`` wrote it; it may have been moved.

    Raises:
        InputError: it is no project, or no variant has been measured yet.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"a project is a folder; there is none at '{path}'")
    if not any(path.iterdir()):
        raise InputError(f"'{path}' is empty, not a project; packlight.fit makes one")
    with Store.open(path) as store:
        outcome = store.get(OUTCOME, LAST, Outcome)
    if outcome is None:
        raise InputError(
            f"no variant in '{path}' has been measured yet; the same fit goes on with the search"
        )
    if outcome.report:
        outcome = replace(outcome, report=str(path / Path(outcome.report).name))
    return Study(replace(outcome, project=str(path)))
