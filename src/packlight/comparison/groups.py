"""Contrast of groups with the remaining samples, tested against chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packlight.errors import UndefinedError
from packlight.metrics import Metric, Rows
from packlight.metrics.paired import SMALLEST_GROUP, drop, drop_test, widen
from packlight.metrics.significance import (
    LEVEL,
    benjamini_hochberg,
    mean_differences,
    sidak_width,
    slice_sums,
)
from packlight.records import GroupContrast, Measurement, WorstGroup
from packlight.records.contrast import Standing
from packlight.task import SampleTable


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One group with its own drop.

    Attributes:
        column: the group column.
        name: of the group.
        places: indices of its samples.
        drop: in it.
        detectable: minimum detectable drop with these samples.
        p: p-value of no drop.
    """

    column: str
    name: str
    places: NDArray[np.intp]
    drop: Measurement
    detectable: float
    p: float

    @property
    def large(self) -> bool:
        """Return whether it has enough samples to be judged."""
        return len(self.places) >= SMALLEST_GROUP


def parts(
    metric: Metric,
    before: SampleTable,
    after: SampleTable,
    columns: Mapping[str, Sequence[str]],
    seed: int,
) -> tuple[Part, ...]:
    """Every group of every column, with its own drop; those without one are left out."""
    judged = []
    for column, names in columns.items():
        of_sample = np.array(list(map(str, names)))
        for name in sorted(set(of_sample.tolist())):
            indices = np.flatnonzero(of_sample == name)
            rows = before.rows[indices], after.rows[indices]
            try:
                loss, detectable = drop(metric, *rows, seed)
            except UndefinedError:
                continue  # the metric has no value in this group
            p, _ = drop_test(metric, *rows, loss)
            judged.append(Part(column, name, indices, loss, detectable, p))
    return tuple(judged)


def contrasts(groups: Sequence[Part], shares: Rows, n: int) -> tuple[GroupContrast, ...]:
    """Each group against the other samples, with p adjusted over all groups large enough.

    Args:
        groups: the groups.
        shares: each sample's part in the drop (n,); empty where the metric has no parts.
        n: samples in all.
    """
    large = [index for index, part in enumerate(groups) if part.large]
    comparable = [index for index in large if shares.size and n - len(groups[index].places) > 1]
    extras, extra_p = _against_other_samples([groups[index] for index in comparable], shares)
    q = np.ones(len(groups))
    q[large] = benjamini_hochberg([groups[index].p for index in large])
    extra_q = np.ones(len(groups))
    extra_q[comparable] = benjamini_hochberg(extra_p)
    extra_gaps = dict(zip(comparable, zip(extras, extra_p, strict=True), strict=True))
    return tuple(
        _group_contrast(part, float(q[index]), extra_gaps.get(index, NO_GAP), float(extra_q[index]))
        for index, part in enumerate(groups)
    )


NO_GAP: tuple[Measurement | None, float] = (None, 1.0)


def _group_contrast(
    part: Part, q: float, gap: tuple[Measurement | None, float], extra_q: float
) -> GroupContrast:
    """The record of a group."""
    extra, extra_p = gap
    standing: Standing = "alike" if part.large else "too small"
    if extra is not None and extra_q <= LEVEL:
        standing = "harder" if extra.value > 0 else "lighter"
    return GroupContrast(
        part.column, part.name, len(part.places), part.drop, part.p, q, extra, extra_p, extra_q,
        part.detectable, standing,
    )  # fmt: skip


def _against_other_samples(
    groups: Sequence[Part], shares: Rows
) -> tuple[tuple[Measurement, ...], tuple[float, ...]]:
    """Drop in each group minus the drop in all other samples, and p of no difference."""
    if not groups:
        return (), ()
    inside = np.zeros((len(shares), len(groups)), dtype=bool)
    for column, part in enumerate(groups):
        inside[part.places, column] = True
    gap = mean_differences(*slice_sums(shares, inside))
    extras = tuple(
        Measurement(float(value), "1", float(value - half), float(value + half), "measured", n)
        for value, half, n in zip(gap.value, gap.half, inside.sum(axis=0).tolist(), strict=True)
    )
    return extras, tuple(gap.p.tolist())


def worst(
    metric: Metric, before: SampleTable, after: SampleTable, groups: Sequence[Part]
) -> WorstGroup | None:
    """The group with the highest drop, with an interval that holds after picking it."""
    large = [part for part in groups if part.large]
    if not large:
        return None
    top = max(large, key=lambda part: part.drop.value)
    rows = before.rows[top.places], after.rows[top.places]
    wide = widen(metric, *rows, top.drop, sidak_width(len(large)))
    return WorstGroup(top.column, top.name, wide)
