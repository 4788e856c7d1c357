"""Which groups lose more than the rest, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """One group, judged by itself.

    Attributes:
        column: the group column.
        name: of the group.
        places: indices of its samples.
        drop: in it.
        detectable: the smallest drop that these samples can tell from none.
        p: that there is no drop.
    """

    column: str
    name: str
    places: NDArray[np.intp]
    drop: Measurement
    detectable: float
    p: float

    @property
    def large(self) -> bool:
        """Whether there are enough samples to judge it."""
        return len(self.places) >= SMALLEST_GROUP


def parts(
    metric: Metric,
    before: SampleTable,
    after: SampleTable,
    columns: Mapping[str, Sequence[str]],
    seed: int,
) -> tuple[Part, ...]:
    """Every group of every column, judged by itself."""
    found = []
    for column, names in columns.items():
        of_sample = np.array(list(map(str, names)))
        for name in sorted(set(of_sample.tolist())):
            places = np.flatnonzero(of_sample == name)
            rows = before.rows[places], after.rows[places]
            loss, detectable = drop(metric, *rows, seed)
            p, _ = drop_test(metric, *rows, loss)
            found.append(Part(column, name, places, loss, detectable, p))
    return tuple(found)


def contrasts(own: Sequence[Part], shares: Rows, n: int) -> tuple[GroupContrast, ...]:
    """Each group against the rest of the samples, with p adjusted over all that are large enough.

    Args:
        own: the groups.
        shares: each sample's part in the drop (n,); empty where the metric has no parts.
        n: samples in all.
    """
    judged = [place for place, part in enumerate(own) if part.large]
    comparable = [place for place in judged if shares.size and n - len(own[place].places) > 1]
    extras, extra_p = against_the_rest([own[place] for place in comparable], shares)
    q, extra_q = np.ones(len(own)), np.ones(len(own))
    q[judged] = benjamini_hochberg([own[place].p for place in judged])
    extra_q[comparable] = benjamini_hochberg(extra_p)
    extra_gaps = dict(zip(comparable, zip(extras, extra_p, strict=True), strict=True))
    return tuple(
        one_contrast(part, float(q[place]), extra_gaps.get(place, NO_GAP), float(extra_q[place]))
        for place, part in enumerate(own)
    )


NO_GAP: tuple[Measurement | None, float] = (None, 1.0)


def one_contrast(
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


def against_the_rest(
    own: Sequence[Part], shares: Rows
) -> tuple[tuple[Measurement, ...], tuple[float, ...]]:
    """Drop in each group minus drop in the rest, and p that there is no difference."""
    if not own:
        return (), ()
    inside = np.zeros((len(shares), len(own)), dtype=bool)
    for column, part in enumerate(own):
        inside[part.places, column] = True
    gap = mean_differences(*slice_sums(shares, inside))
    extras = tuple(
        Measurement(float(value), "1", float(value - half), float(value + half), "measured", n)
        for value, half, n in zip(gap.value, gap.half, inside.sum(axis=0).tolist(), strict=True)
    )
    return extras, tuple(gap.p.tolist())


def worst(
    metric: Metric, before: SampleTable, after: SampleTable, own: Sequence[Part]
) -> WorstGroup | None:
    """The group with the highest drop, with an interval that holds after picking it."""
    large = [part for part in own if part.large]
    if not large:
        return None
    top = max(large, key=lambda part: part.drop.value)
    rows = before.rows[top.places], after.rows[top.places]
    wide = widen(metric, *rows, top.drop, sidak_width(len(large)))
    return WorstGroup(top.column, top.name, wide)
