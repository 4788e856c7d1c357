"""Comparison of two or more evaluated models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from packlight.records.advice import Advice
from packlight.records.contrast import Contrast
from packlight.records.display import Displayed, Tabular
from packlight.records.layers import Layers
from packlight.records.measurement import Measurement
from packlight.records.outcome import VariantResult


@dataclass(frozen=True, slots=True)
class Robustness:
    """Drops under one kind of input change.

    Attributes:
        variant: id.
        change: of the inputs, as ``noise``.
        reference: drop of the reference on changed inputs, against itself on the inputs as they
            are.
        drop: the same of the variant.
        extra: the variant's drop minus the reference's, paired; positive is less robust.
    """

    VERSION: ClassVar[int] = 1

    variant: str
    change: str
    reference: Measurement
    drop: Measurement
    extra: Measurement


@dataclass(frozen=True, slots=True)
class Flips(Tabular):
    """Samples whose outcome changed.

    Attributes:
        variant: id.
        lost: right before, wrong now.
        won: wrong before, right now.
        changed: wrong before and wrong now, differently.
        n: samples.
        by_group: lost minus won as a share of the group, by ``column/name``.
        examples: indices of samples that were lost, most confident reference first.
    """

    variant: str
    lost: int
    won: int
    changed: int
    n: int
    by_group: Mapping[str, float]
    examples: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Displayed, Tabular):
    """Changes from a base to other models, on the same samples.

    Attributes:
        base: the reference.
        others: the variants.
        deltas: by variant id, the difference or ratio of every measurement.
        flips: one for each variant of a task with decisions.
        front: ids of the Pareto front.
        report: path of the report; empty when none was written.
        warnings: sentences about the data.
        contrasts: one for each variant: groups, slices, trust and the samples that changed most.
        unlike: by variant id, what differs from how the base was judged, as ``seed: 0 and 1``; such
            a variant has no deltas and is not ranked.
        samples: file of the table of single samples; empty when none was written.
        layers: one for each variant; empty where layers were not compared.
        robustness: by variant and change of the inputs; empty where that was not asked for.
        lessons: of practitioners, that these results call for.
    """

    VERSION: ClassVar[int] = 2

    base: VariantResult
    others: tuple[VariantResult, ...]
    deltas: Mapping[str, Mapping[str, Measurement]]
    flips: tuple[Flips, ...]
    front: tuple[str, ...]
    report: str = ""
    warnings: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    unlike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    samples: str = ""
    layers: tuple[Layers, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    lessons: tuple[Advice, ...] = ()
