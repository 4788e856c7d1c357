"""Content of the studio's pages; the types of the front end are generated from these records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from packlight.records.measurement import How, Meets
from packlight.records.outcome import Verdict

Better = Literal["lower", "higher"]
MatchStatus = Literal["same", "changed", "removed", "added"]
JobState = Literal["waiting", "running", "done", "failed", "canceled"]
JobKind = Literal["measure", "layers", "sensitivity"]
PictureKind = Literal["image", "wave", "numbers"]


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
class ModelChoice:
    """A model that pages can show."""

    id: str
    name: str
    role: Literal["original", "best", "variant", "file"]


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
class ColumnTitle:
    """A column of numbers of the operator table.

    Attributes:
        name: of the column.
        title: for people.
        unit: SI unit; ``%`` for shares.
        how: counted, measured or estimated.
        total: of all rows; None where a sum means nothing.
        tip: a sentence about it.
    """

    name: str
    title: str
    unit: str
    how: How
    total: float | None
    tip: str


@dataclass(frozen=True, slots=True)
class OperatorsPage:
    """Where size, time and memory go, column by column.

    Attributes:
        model: id.
        name: of the model.
        names: of operators, in the order they run.
        ops: types.
        modules: path of the module of each; empty at the top.
        files: of source code, in short.
        lines: in those files; 0 where unknown.
        bounds: what the time of each is bound by.
        storage: what was changed of each, in words; empty where nothing was.
        starts: second at which each begins in one run, from the column ``time``.
        columns: titles, in order.
        numbers: by column; None where unknown.
        device: that times were predicted for; empty where they were measured.
        notes: on the counts.
        peak: operator that runs while most memory is needed.
    """

    model: str
    name: str
    names: tuple[str, ...]
    ops: tuple[str, ...]
    modules: tuple[str, ...]
    files: tuple[str, ...]
    lines: tuple[int, ...]
    bounds: tuple[str, ...]
    storage: tuple[str, ...]
    starts: tuple[float, ...]
    columns: tuple[ColumnTitle, ...]
    numbers: Mapping[str, tuple[float | None, ...]]
    device: str
    notes: tuple[str, ...]
    peak: str


@dataclass(frozen=True, slots=True)
class GraphPage:
    """A layered drawing of operators and folded modules.

    Attributes:
        labels: of nodes.
        kinds: ``module`` or the type of the operator.
        modules: path of a folded module, or of the operator's.
        x: center of each node.
        y: center of each node.
        first: first operator in each node.
        counts: operators in each node.
        owners: index of the node of each operator.
        sources: start of each edge, as an index of a node.
        targets: end of each edge.
        width: of the drawing.
        height: of the drawing.
        open: modules that are unfolded.
        foldable: every module that can be unfolded.
    """

    labels: tuple[str, ...]
    kinds: tuple[str, ...]
    modules: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    first: tuple[int, ...]
    counts: tuple[int, ...]
    owners: tuple[int, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    width: float
    height: float
    open: tuple[str, ...]
    foldable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodePage:
    """Lines of source code round one line.

    Attributes:
        file: in short.
        line: that is meant.
        first: number of the first line shown.
        lines: of code; empty where the file cannot be read.
        problem: why there are none, and what to do; empty if there are.
    """

    file: str
    line: int
    first: int
    lines: tuple[str, ...]
    problem: str


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
class StepTitle:
    """A step that can be chosen."""

    step: str
    title: str
    tip: str


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
class GroupDot:
    """One variant in one group.

    Attributes:
        variant: id.
        drop: in the group.
        standing: ``harder``, ``lighter``, ``alike`` or ``too small``.
        q: adjusted p-value against the rest.
        lost: decisions in the group that were right and are wrong.
        won: decisions that were wrong and are right.
    """

    variant: str
    drop: Number
    standing: str
    q: float
    lost: int
    won: int


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group with all variants, in order."""

    column: str
    name: str
    n: int
    dots: tuple[GroupDot, ...]


@dataclass(frozen=True, slots=True)
class ConfusionChange:
    """Decisions that changed from one class to another."""

    before: str
    after: str
    lost: int
    won: int
    changed: int


@dataclass(frozen=True, slots=True)
class ContrastColumn:
    """A variant against the reference.

    Attributes:
        variant: id.
        drop: paired.
        p: that there is no drop.
        test: that gave ``p``.
        rates: of decisions ``lost``, ``won`` and ``changed``.
        worst: group with the highest drop; empty without one.
        worst_drop: its drop.
        trust: confidence and calibration before, after and their change.
        slices: samples that lose more than the others, in words.
        confusions: most frequent changes of decisions.
        notes: on what was not judged.
    """

    variant: str
    drop: Number
    p: float
    test: str
    rates: Mapping[str, Number]
    worst: str
    worst_drop: Number | None
    trust: Mapping[str, tuple[Number, ...]]
    slices: tuple[str, ...]
    confusions: tuple[ConfusionChange, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Who or what became worse.

    Attributes:
        reference: the original.
        variants: two to five, in order.
        metrics: rows of the headline table.
        contrasts: for each variant but the reference.
        columns: group columns.
        groups: worst first.
        findings: causes.
        lessons: of practitioners.
        pictures: whether samples can be shown.
        pictures_reason: what to do so that they can.
    """

    reference: VariantRow
    variants: tuple[VariantRow, ...]
    metrics: tuple[MetricTitle, ...]
    contrasts: tuple[ContrastColumn, ...]
    columns: tuple[str, ...]
    groups: tuple[GroupRow, ...]
    findings: tuple[FindingLine, ...]
    lessons: tuple[LessonLine, ...]
    pictures: bool
    pictures_reason: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A sample's input to look at.

    Attributes:
        kind: of drawing.
        source: address of an image with its data.
        width: in pixels.
        height: in pixels.
        points: ends of a waveform's strokes, lowest and highest in turn, from -1 to 1.
        text: for people, or first numbers.
    """

    kind: PictureKind
    source: str
    width: int
    height: int
    points: tuple[float, ...]
    text: str


@dataclass(frozen=True, slots=True)
class SampleCard:
    """A sample whose decision changed.

    Attributes:
        sample: index.
        outcome: ``lost``, ``won`` or ``changed``.
        before: decision of the reference.
        after: decision of the variant.
        confidence_before: of the reference.
        confidence_after: of the variant.
        groups: by column.
        picture: of its input; None where the task is not at hand.
    """

    sample: int
    outcome: str
    before: str
    after: str
    confidence_before: float
    confidence_after: float
    groups: Mapping[str, str]
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class SamplesPage:
    """Samples whose decision changed, right to wrong first.

    Attributes:
        variant: id.
        total: samples that match the filter.
        start: index of the first card among them.
        cards: of this page.
        counts: by outcome, of all samples in the group.
    """

    variant: str
    total: int
    start: int
    cards: tuple[SampleCard, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WeightHistogram:
    """Numbers of one weight before and after."""

    name: str
    operator: str
    shape: str
    snr: Number
    levels: int
    zeros: float
    variant_zeros: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    variant_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayersPage:
    """Where a variant diverges inside.

    Attributes:
        variant: id.
        name: of the variant.
        ready: whether it was measured.
        n: samples.
        names: of operators, in order.
        ops: types.
        total: signal to noise in dB with all errors before.
        own: signal to noise in dB of the operator alone.
        low: lowest number of the reference.
        high: highest number of the reference.
        variant_low: lowest number of the variant.
        variant_high: highest number of the variant.
        outside: share of numbers outside the reference's range.
        first: operator where it goes wrong first; empty where it does not.
        sentence: on that.
        weights: histograms, the noisiest first.
        unmatched: operators without a counterpart.
        notes: on what was not compared.
    """

    variant: str
    name: str
    ready: bool
    n: int = 0
    names: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    total: tuple[float | None, ...] = ()
    own: tuple[float | None, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    variant_low: tuple[float, ...] = ()
    variant_high: tuple[float, ...] = ()
    outside: tuple[float, ...] = ()
    first: str = ""
    sentence: str = ""
    weights: tuple[WeightHistogram, ...] = ()
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One operator in one or both models.

    Attributes:
        status: of the match.
        first: index in the first model; -1 where it has none.
        second: index in the second model; -1 where it has none.
        fields: columns that differ.
        note: what a recipe made of it, in words; empty where none did.
    """

    status: MatchStatus
    first: int
    second: int
    fields: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class DiffPage:
    """Two models operator by operator.

    Attributes:
        first: operators of the first model.
        second: operators of the second model.
        rows: matched, in order.
        counts: rows by status.
        totals: by name, of the first and of the second model.
        ops: by type, number in the first and in the second model, where they differ.
    """

    first: OperatorsPage
    second: OperatorsPage
    rows: tuple[DiffRow, ...]
    counts: Mapping[str, int]
    totals: Mapping[str, tuple[Number, ...]]
    ops: Mapping[str, tuple[int, ...]]


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


@dataclass(frozen=True, slots=True)
class Problem:
    """A request that could not be answered, in a sentence."""

    error: str
