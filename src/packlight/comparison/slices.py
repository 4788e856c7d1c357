"""Slices of samples that lose more, found on one half of the data and confirmed on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from packlight.metrics import Rows
from packlight.metrics.paired import SMALLEST_GROUP
from packlight.metrics.significance import (
    LEVEL,
    MeanDifference,
    benjamini_hochberg,
    mean_differences,
    paired_interval,
    slice_sums,
)
from packlight.records import Measurement, Slice

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Where numbers are cut."""

MOST_NAMES = 150
"""Groups that are searched, the largest first."""

MOST_TRIED = 5
"""Slices of one half that are tested on the other; the fewer, the more power each test has."""

SCREEN = 0.01
"""p on the first half up to which a slice is tested on the other."""

Mask = NDArray[np.bool_]


class Condition(NamedTuple):
    """Samples selected by one column.

    Attributes:
        text: as ``input_mean > 0.43``.
        inside: mask of its samples (n,).
    """

    text: str
    inside: Mask


def slices(
    shares: Rows, columns: Mapping[str, Sequence[str]], inputs: Mapping[str, Rows], seed: int
) -> tuple[tuple[Slice, ...], int]:
    """Slices by one condition or two whose drop is above that of the other samples.

    Candidates are all groups, ranges of numbers, and pairs of these, with at least 30 samples. On
    the half where they are searched they look worse than they are; the reported numbers come from
    the other half, which played no part in choosing.

    Args:
        shares: each sample's part in the drop (n,).
        columns: group columns (n,).
        inputs: numbers of each sample (n,) by name.
        seed: of the halves.

    Returns:
        Confirmed slices, in the order of the search, and the count of tested ones.

    Source: sample splitting, Cox, Biometrika 62 (1975).
    """
    n = len(shares)
    if n < 4 * SMALLEST_GROUP:
        return (), 0
    order = np.random.default_rng(seed).permutation(n)
    seek = order[: n // 2]
    check = order[n // 2 :]
    conditions = [*_group_conditions(columns, seek), *_range_conditions(inputs, seek)]
    tried = _candidates(conditions, shares, seek)
    if not tried:
        return (), 0
    tests = [
        _on_the_other_half(slice_.inside[check], slice_.remaining[check], shares[check])
        for slice_ in tried
    ]
    q = benjamini_hochberg([p for *_, p in tests])
    confirmed = [
        Slice(slice_.text, n_inside, loss, extra, p, float(adjusted), slice_.extra)
        for slice_, (n_inside, loss, extra, p), adjusted in zip(tried, tests, q, strict=True)
        if adjusted <= LEVEL and extra.value > 0
    ]
    return tuple(confirmed), len(tried)


def _on_the_other_half(
    inside: Mask, remaining: Mask, shares: Rows
) -> tuple[int, Measurement, Measurement, float]:
    """Samples of a slice, their drop, its excess over the other samples, and p of the excess.

    Args:
        inside: samples that fulfil its rule (n,).
        remaining: samples in no slice above it (n,).
        shares: each sample's part in the drop (n,).
    """
    chosen = shares[inside & remaining]
    gap = mean_differences(*slice_sums(shares[remaining], inside[remaining][:, None]))
    n = len(chosen)
    if n < SMALLEST_GROUP:
        none = Measurement(0.0, "1", 0.0, 0.0, "measured", n)
        return n, none, none, 1.0
    return n, *_drop_and_excess(chosen, gap), float(gap.p[0])


def _drop_and_excess(values: Rows, gap: MeanDifference) -> tuple[Measurement, Measurement]:
    """Mean of a slice's parts in the drop, and its excess over the other samples."""
    n = len(values)
    mean = float(values.mean())
    half = paired_interval(values)
    value = float(gap.value[0])
    width = float(gap.half[0])
    return (
        Measurement(mean, "1", mean - half, mean + half, "measured", n),
        Measurement(value, "1", value - width, value + width, "measured", n),
    )


def _group_conditions(
    columns: Mapping[str, Sequence[str]], seek: NDArray[np.intp]
) -> list[Condition]:
    """A condition for each group that is large enough on the first half, the largest first."""
    conditions: list[Condition] = []
    for column, names in columns.items():
        of_sample = np.array(list(map(str, names)))
        conditions += [
            Condition(f"{column} = {name}", of_sample == name)
            for name in sorted(set(of_sample.tolist()))
        ]
    large = _large_enough(conditions, seek)
    return sorted(large, key=lambda condition: -int(condition.inside[seek].sum()))[:MOST_NAMES]


def _large_enough(conditions: Sequence[Condition], seek: NDArray[np.intp]) -> list[Condition]:
    return [condition for condition in conditions if condition.inside[seek].sum() >= SMALLEST_GROUP]


def _range_conditions(inputs: Mapping[str, Rows], seek: NDArray[np.intp]) -> list[Condition]:
    conditions = []
    for name, values in inputs.items():
        for cut in np.unique(np.quantile(values[seek], QUANTILES)).tolist():
            conditions.append(Condition(f"{name} <= {cut:.4g}", values <= cut))
            conditions.append(Condition(f"{name} > {cut:.4g}", values > cut))
    return _large_enough(conditions, seek)


class Candidate(NamedTuple):
    """A slice that looks worse than the other samples on one half.

    Attributes:
        text: its rule.
        inside: samples that fulfil it (n,).
        remaining: samples in no candidate before it (n,).
        extra: its drop above that of the other samples, on that half.
    """

    text: str
    inside: Mask
    remaining: Mask
    extra: float


def _candidates(
    conditions: Sequence[Condition], shares: Rows, seek: NDArray[np.intp]
) -> list[Candidate]:
    """The worst slices of the first half, one after another.

    The samples of each slice are removed before the next search, so that one loss is not reported
    several times.
    """
    slices: list[Candidate] = []
    remaining = np.ones(len(shares), dtype=bool)
    while conditions and len(slices) < MOST_TRIED:
        half = seek[remaining[seek]]
        masks = np.stack([condition.inside[half] for condition in conditions], axis=1)
        best = _most_harmed(masks, shares[half])
        if best is None:
            break
        first, second, extra = best
        text = " and ".join(dict.fromkeys((conditions[first].text, conditions[second].text)))
        inside = conditions[first].inside & conditions[second].inside
        slices.append(Candidate(text, inside, remaining, extra))
        remaining = remaining & ~inside
    return slices


def _most_harmed(masks: Mask, shares: Rows) -> tuple[int, int, float] | None:
    """The condition or pair of conditions under which samples lose significantly more.

    All pairs are judged at once: counts and sums of two conditions are products of their masks. A
    pair counts only where its samples also lose more than those under either condition alone that
    the other leaves out; else the single condition says it all.

    Args:
        masks: samples that fulfil each condition (n, conditions).
        shares: each sample's part in the drop (n,).

    Returns:
        Two indices, equal for a single condition, and the extra drop; None where nothing stands
        out.
    """
    chosen = masks.astype(np.float64)
    powers = [shares[:, None] ** power for power in range(3)]
    within = np.stack([chosen.T @ (chosen * values) for values in powers])
    totals = np.array([len(shares), powers[1].sum(), powers[2].sum()])[:, None, None]
    counts, sums, squares = np.stack([within, totals - within], axis=1)
    gap = mean_differences(counts, sums, squares)
    single = np.diagonal(within, axis1=1, axis2=2)[:, :, None]
    beyond = mean_differences(
        *np.stack([within, np.broadcast_to(single, within.shape) - within], axis=1)
    )
    needed = (beyond.p <= SCREEN) & (beyond.score > 0)
    pair = needed & needed.T | np.eye(masks.shape[1], dtype=bool)
    usable = pair & (counts >= SMALLEST_GROUP).all(axis=0) & (gap.p <= SCREEN) & (gap.score > 0)
    if not usable.any():
        return None
    index = int(np.where(usable, gap.score, -np.inf).argmax())
    first, second = sorted(divmod(index, masks.shape[1]))
    return first, second, float(gap.value[first, second])
