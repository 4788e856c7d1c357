"""Content of the frame and of Overview, and what several pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from packlight.records.measurement import How, Meets
from packlight.records.outcome import Verdict

Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Number:
    """A measurement with its text for people.

    Attributes:
        value: in SI units.
        low: lower end of the 95 % interval.
        high: upper end.
        how: counted, measured or estimated.
        n: samples, runs or bytes that it rests on.
        text: value with its unit.
        interval: the interval in the same unit; empty for an exact number.
    """

    value: float
    low: float
    high: float
    how: How
    n: int
    text: str
    interval: str


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One budget, with what the chosen or nearest variant reaches.

    Attributes:
        text: as it was written.
        metric: measurement that is judged.
        title: name of the measurement for people.
        sense: ``<=`` or ``>=``.
        bound: in SI units; None where the original was not measured.
        bound_text: for people.
        reached: by the chosen or nearest variant; None where it was not measured.
        meets: of that variant.
    """

    text: str
    metric: str
    title: str
    sense: str
    bound: float | None
    bound_text: str
    reached: Number | None
    meets: Meets


@dataclass(frozen=True, slots=True)
class MetricTitle:
    """A measurement that axes and columns can show.

    Attributes:
        name: of the measurement.
        title: for people.
        unit: SI unit.
        scale: factor to SI units of the unit that axes show.
        label: unit that axes show.
        better: which direction is better.
    """

    name: str
    title: str
    unit: str
    scale: float
    label: str
    better: Better


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant in tables and plots.

    Attributes:
        id: of the variant.
        name: for people.
        recipe: in one line.
        verdict: of all budgets.
        meets: each budget by its text.
        labels: as ``faster``.
        error: why it could not be measured; empty if it could.
        same_as: id of a variant with the same model; empty otherwise.
        numbers: measurements by name.
        settings: options of the recipe by name, as ``weights bits``.
        original: whether the search started from it.
        best: whether it is the chosen one.
        tried: whether it was made from the studio.
        file: whether its model file is in the project.
    """

    id: str
    name: str
    recipe: str
    verdict: Verdict
    meets: Mapping[str, Meets]
    labels: tuple[str, ...]
    error: str
    same_as: str
    numbers: Mapping[str, Number]
    settings: Mapping[str, str]
    original: bool
    best: bool
    tried: bool
    file: bool


@dataclass(frozen=True, slots=True)
class LineageNode:
    """One step of the lineage.

    Attributes:
        key: steps from the original, joined.
        parent: key of the step before; empty for the original.
        label: the step, in short.
        variant: id of the variant that ends here; empty where none does.
        x: steps from the original.
        y: row, from 0.
        order: turn in which the variant was tried, from 0; -1 where none ends here.
    """

    key: str
    parent: str
    label: str
    variant: str
    x: float
    y: float
    order: int


@dataclass(frozen=True, slots=True)
class LessonLine:
    """A lesson of practitioners, with why it is shown and its source."""

    title: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class FindingLine:
    """A diagnosed cause.

    Attributes:
        cause: in a word or two.
        severity: ``serious``, ``warning`` or ``note``.
        text: sentence.
        next_step: what to do.
        operators: concerned, the worst first.
        lessons: of practitioners.
    """

    cause: str
    severity: str
    text: str
    next_step: str
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that pages can show."""

    id: str
    name: str
    role: Literal["original", "best", "variant", "file"]


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page shows.

    Attributes:
        title: of the project or model.
        model: name of the original.
        task: name of the task; empty without one.
        kind: ``project`` or ``model``.
        budgets: with the chosen variant.
        shown: name of the variant that budgets are shown for.
        variants: ids and names of the models that pages can show, in order.
        saves: whether views and recipes can be saved.
        runs: whether recipes can be run.
        runs_reason: what to do so that they can; empty where they can.
        finished: whether the search tried everything it planned.
        progress: variants measured and planned.
        version: of packlight.
    """

    title: str
    model: str
    task: str
    kind: Literal["project", "model"]
    budgets: tuple[BudgetLine, ...]
    shown: str
    variants: tuple[ModelChoice, ...]
    saves: bool
    runs: bool
    runs_reason: str
    finished: bool
    progress: tuple[int, ...]
    version: str


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """Which variant to ship, what it costs, and what else was possible.

    Attributes:
        verdict: of the search.
        headline: verdict in a sentence.
        details: further sentences.
        cautions: what makes the result less sure or less good than it looks.
        notes: what else is worth knowing.
        best: id of the chosen or nearest variant; empty without one.
        metrics: that axes and columns can show.
        variants: the original first.
        fronts: by ``x|y``, ids of variants that no other beats on both.
        lineage: of the recipes.
        findings: causes of what the chosen variant lost.
        lessons: of practitioners.
        conditions: how it was measured, by name.
    """

    verdict: Verdict
    headline: str
    details: tuple[str, ...]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]
    best: str
    metrics: tuple[MetricTitle, ...]
    variants: tuple[VariantRow, ...]
    fronts: Mapping[str, tuple[str, ...]]
    lineage: tuple[LineageNode, ...]
    findings: tuple[FindingLine, ...]
    lessons: tuple[LessonLine, ...]
    conditions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """A request that could not be answered, in a sentence."""

    error: str
