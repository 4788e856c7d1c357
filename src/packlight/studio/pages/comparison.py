"""Content of Compare and Layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from packlight.studio.pages.overview import FindingLine, LessonLine, MetricTitle, Number, VariantRow

PictureKind = Literal["image", "wave", "numbers"]


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
