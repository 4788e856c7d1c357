"""Content of What if, jobs, and what is saved in a project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from packlight.studio.pages.overview import BudgetLine, Number

JobState = Literal["waiting", "running", "done", "failed", "canceled"]
JobKind = Literal["measure", "layers", "sensitivity"]


@dataclass(frozen=True, slots=True)
class StepTitle:
    """A step that can be chosen."""

    step: str
    title: str
    tip: str


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """Operators that share stored weights, which a choice changes together.

    Attributes:
        operators: names.
        saved: by step, bytes that its weights become smaller.
        seconds: by step, predicted seconds that one run becomes shorter.
        damage: by step, noise over signal in power that it adds to the outputs, where it was
            measured.
        refused: by step, why it leaves these operators as they are.
    """

    operators: tuple[str, ...]
    saved: Mapping[str, float]
    seconds: Mapping[str, float]
    damage: Mapping[str, float]
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WhatIfPage:
    """Choices for every operator with a weight.

    Attributes:
        model: id.
        steps: that can be chosen; the first keeps the operator.
        rows: in the order they run.
        original: predicted costs of the model as it is.
        device: that costs are predicted for.
        sensitivity: whether damage was measured.
        recipes: saved ones by name, as text.
    """

    model: str
    steps: tuple[StepTitle, ...]
    rows: tuple[ChoiceRow, ...]
    original: Mapping[str, Number]
    device: str
    sensitivity: bool
    recipes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """Effect of one choice.

    Attributes:
        where: pattern of operators.
        step: chosen.
        operators: that it changes.
        saved: bytes of weights saved.
        seconds: predicted seconds saved in one run.
        damage: noise over signal in power that it adds; None where unknown.
        refused: reasons of operators that stay as they are.
    """

    where: str
    step: str
    operators: int
    saved: float
    seconds: float
    damage: float | None
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted costs of choices.

    Attributes:
        predicted: by name.
        changes: ratio to the original by name.
        budgets: with the prediction.
        receipt: a line for each choice.
        changed: operators that change.
        damage: signal to noise at the outputs in dB; None where unknown or without damage.
        recipe: that makes it, as text; empty where nothing changes.
    """

    predicted: Mapping[str, Number]
    changes: Mapping[str, float]
    budgets: tuple[BudgetLine, ...]
    receipt: tuple[ReceiptLine, ...]
    changed: int
    damage: float | None
    recipe: str


@dataclass(frozen=True, slots=True)
class JobPage:
    """A job with its progress.

    Attributes:
        id: of the job.
        kind: of work.
        title: for people.
        state: of the job.
        text: that is being done.
        done: steps finished.
        total: steps in all; 0 where unknown.
        variant: id of the variant that it made; empty before.
        error: why it failed; empty if it did not.
        predicted: of the choices that it runs, by name.
        measured: by name, once it is done.
    """

    id: str
    kind: JobKind
    title: str
    state: JobState
    text: str = ""
    done: int = 0
    total: int = 0
    variant: str = ""
    error: str = ""
    predicted: Mapping[str, Number] = field(default_factory=dict)
    measured: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedView:
    """A named view, as a project stores it.

    Attributes:
        name: of the view.
        address: that shows it, from ``#`` on.
        note: by who saved it.
    """

    name: str
    address: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class SavedRecipe:
    """A named recipe, as a project stores it."""

    name: str
    recipe: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Noise that single steps add to the outputs, operator by operator.

    Attributes:
        model: digest.
        n: samples.
        noise: by step, by operator, noise over signal in power at the outputs.
    """

    model: str
    n: int
    noise: Mapping[str, Mapping[str, float]]
