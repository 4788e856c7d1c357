"""Paired comparison of a variant with its reference: by group, slice and sample, with tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from packlight.records.display import Tabular
from packlight.records.measurement import Measurement

Standing = Literal["harder", "lighter", "alike", "too small"]


@dataclass(frozen=True, slots=True)
class GroupContrast:
    """One group against the rest of the samples.

    Attributes:
        column: the group column.
        name: of the group.
        n: samples in it.
        drop: in the group, paired; its interval is for this group alone.
        p: that there is no drop in the group, two-sided.
        q: ``p`` adjusted over all groups that are large enough (Benjamini and Hochberg).
        extra: drop in the group minus drop in the rest of the samples, in each sample's part of
            the drop.
        extra_p: that the group loses what the rest loses, two-sided.
        extra_q: adjusted over all groups.
        detectable: minimum detectable drop at 80 % power; 0 where unknown.
        standing: ``harder`` or ``lighter`` hit than the rest where ``extra_q`` is at most 0.05,
            else ``alike``, as far as can be told; ``too small`` below 30 samples, not judged.
    """

    column: str
    name: str
    n: int
    drop: Measurement
    p: float
    q: float
    extra: Measurement | None
    extra_p: float
    extra_q: float
    detectable: float
    standing: Standing


@dataclass(frozen=True, slots=True)
class WorstGroup:
    """The group with the highest drop among those large enough.

    Attributes:
        column: the group column.
        name: of the group.
        drop: its interval holds after having picked the worst: those of all groups hold together.
    """

    column: str
    name: str
    drop: Measurement


@dataclass(frozen=True, slots=True)
class Slice:
    """Samples that lose more than the others, found on one half of the data.

    Attributes:
        rule: which samples, as ``class = Shirt and input_mean > 0.43``.
        n: samples of the other half in it, without those in slices told before it; all numbers
            below are of these.
        drop: mean part in the drop of the samples in it.
        extra: that minus the mean of the others.
        p: that there is no difference.
        q: adjusted over all slices that were tried on that half.
        found: the extra drop in the half where it was found, which is too high by selection.
    """

    rule: str
    n: int
    drop: Measurement
    extra: Measurement
    p: float
    q: float
    found: float


@dataclass(frozen=True, slots=True)
class Shift:
    """One number of both models, and the paired difference.

    Attributes:
        before: of the reference.
        after: of the variant.
        change: after minus before.
    """

    before: Measurement
    after: Measurement
    change: Measurement


@dataclass(frozen=True, slots=True)
class Moved:
    """A sample whose outputs changed much.

    Attributes:
        sample: its index in the task.
        divergence: between the two models' outputs.
        before: what the reference decided; empty without decisions.
        after: what the variant decided.
        outcome: ``lost``, ``won``, ``changed`` or ``same``; empty without decisions.
    """

    sample: int
    divergence: float
    before: str
    after: str
    outcome: Literal["lost", "won", "changed", "same", ""]


@dataclass(frozen=True, slots=True)
class Contrast(Tabular):
    """A variant against its reference, sample by sample.

    Attributes:
        variant: id.
        reference: id.
        metric: of the task.
        form: what kind of output is judged.
        n: samples.
        drop: paired; positive is worse.
        p: that there is no drop, two-sided.
        test: that gave ``p``.
        detectable: minimum detectable drop at 80 % power; 0 where unknown.
        rates: of decisions ``lost`` (right to wrong), ``won``, ``changed`` (wrong, in another way)
            and ``churn`` (any change); or of samples ``worse`` and ``better`` where the metric is
            no share.
        rates_p: that as many are lost as won, two-sided; 1 where there are no rates.
        rates_test: that gave ``rates_p``.
        groups: every group of every column.
        worst: among those; None where none is large enough.
        slices: found on one half of the samples and confirmed on the other.
        trust: ``confidence``, and where targets are known ``calibration_error``, ``nll`` and
            ``brier``.
        spread: quantiles of the metric over samples, ``p50`` to ``most``, where it is no share.
        neighbours: of embeddings, the mean ``rank_agreement`` and ``same_nearest``.
        distance: by which ``moved`` is ranked; empty where outputs cannot be compared.
        moved: the samples that changed most.
        notes: sentences on what was not judged, and why.
        level: the metric by its name, and ``perplexity`` where it is the loss of tokens.
    """

    VERSION: ClassVar[int] = 1

    variant: str
    reference: str
    metric: str
    form: Literal["classes", "sequences", "vectors", "values"]
    n: int
    drop: Measurement
    p: float
    test: str
    detectable: float
    rates: Mapping[str, Measurement] = field(default_factory=dict)
    rates_p: float = 1.0
    rates_test: str = ""
    groups: tuple[GroupContrast, ...] = ()
    worst: WorstGroup | None = None
    slices: tuple[Slice, ...] = ()
    trust: Mapping[str, Shift] = field(default_factory=dict)
    spread: Mapping[str, Shift] = field(default_factory=dict)
    neighbours: Mapping[str, Measurement] = field(default_factory=dict)
    distance: str = ""
    moved: tuple[Moved, ...] = ()
    notes: tuple[str, ...] = ()
    level: Mapping[str, Shift] = field(default_factory=dict)
