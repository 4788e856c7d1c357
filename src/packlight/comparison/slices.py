"""Samples that lose more than others, found on one half of the data and confirmed on the other."""

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
"""Groups that take part, the largest first."""

MOST_TRIED = 5
"""Slices of one half that are tried on the other; the fewer, the more surely each is confirmed."""

SCREEN = 0.01
"""p on the first half up to which a slice is tried on the other."""

Mask = NDArray[np.bool_]


class Condition(NamedTuple):
    """Some samples, by one column.

    Attributes:
        text: as ``input_mean > 0.43``.
        inside: which samples (n,).
    """

    text: str
    inside: Mask


def slices(
    shares: Rows, columns: Mapping[str, Sequence[str]], inputs: Mapping[str, Rows], seed: int
) -> tuple[tuple[Slice, ...], int]:
    """Slices by one condition or two whose drop is above that of the others.

    Candidates are all groups, ranges of numbers, and pairs of these, of 30 samples and more. The
    half on which they are sought makes them look worse than they are; what is told of them comes
    from the other half, which played no part in choosing.

    Args:
        shares: each sample's part in the drop (n,).
        columns: group columns (n,).
        inputs: numbers of each sample (n,) by name.
        seed: of the halves.

    Returns:
        Those confirmed, in the order found, and how many were tried.

    Source: sample splitting, Cox, Biometrika 62 (1975).
    """
    n = len(shares)
    if n < 4 * SMALLEST_GROUP:
        return (), 0
    order = np.random.default_rng(seed).permutation(n)
    seek, check = order[: n // 2], order[n // 2 :]
    found = candidates([*named(columns, seek), *ranges(inputs, seek)], shares, seek)
    if not found:
        return (), 0
    tests = [
        on_the_other_half(mask[check], rest[check], shares[check]) for _, mask, rest, _ in found
    ]
    q = benjamini_hochberg([p for *_, p in tests])
    confirmed = [
        Slice(one.text, n_inside, loss, extra, p, float(adjusted), one.extra)
        for one, (n_inside, loss, extra, p), adjusted in zip(found, tests, q, strict=True)
        if adjusted <= LEVEL and extra.value > 0
    ]
    return tuple(confirmed), len(found)


def on_the_other_half(
    inside: Mask, rest: Mask, shares: Rows
) -> tuple[int, Measurement, Measurement, float]:
    """Samples of a slice, their drop, how much it is above that of the rest, and p of that.

    Args:
        inside: which samples fulfil its rule (n,).
        rest: which are in no slice above it (n,).
        shares: each sample's part in the drop (n,).
    """
    chosen, others = shares[inside & rest], shares[rest]
    gap = mean_differences(*slice_sums(others, inside[rest][:, None]))
    n = len(chosen)
    if n < SMALLEST_GROUP:
        none = Measurement(0.0, "1", 0.0, 0.0, "measured", n)
        return n, none, none, 1.0
    return n, *numbers(chosen, gap), float(gap.p[0])


def numbers(values: Rows, gap: MeanDifference) -> tuple[Measurement, Measurement]:
    """Mean of a slice's parts in the drop, and how much it is above that of the others."""
    n, mean, half = len(values), float(values.mean()), paired_interval(values)
    value, width = float(gap.value[0]), float(gap.half[0])
    return (
        Measurement(mean, "1", mean - half, mean + half, "measured", n),
        Measurement(value, "1", value - width, value + width, "measured", n),
    )


def named(columns: Mapping[str, Sequence[str]], seek: NDArray[np.intp]) -> list[Condition]:
    """A condition for each group that is large enough on the first half."""
    found: list[Condition] = []
    for column, names in columns.items():
        of_sample = np.array(list(map(str, names)))
        found += [
            Condition(f"{column} = {name}", of_sample == name)
            for name in sorted(set(of_sample.tolist()))
        ]
    large = [one for one in found if one.inside[seek].sum() >= SMALLEST_GROUP]
    return sorted(large, key=lambda one: -int(one.inside[seek].sum()))[:MOST_NAMES]


def ranges(inputs: Mapping[str, Rows], seek: NDArray[np.intp]) -> list[Condition]:
    """Conditions that cut numbers at quantiles of the first half."""
    found = []
    for name, values in inputs.items():
        for cut in np.unique(np.quantile(values[seek], QUANTILES)).tolist():
            found.append(Condition(f"{name} <= {cut:.4g}", values <= cut))
            found.append(Condition(f"{name} > {cut:.4g}", values > cut))
    return [one for one in found if one.inside[seek].sum() >= SMALLEST_GROUP]


class Candidate(NamedTuple):
    """A slice that looks worse than the others on one half.

    Attributes:
        text: its rule.
        inside: which samples fulfil it (n,).
        rest: which are in no candidate before it (n,).
        extra: its drop above that of the others, on that half.
    """

    text: str
    inside: Mask
    rest: Mask
    extra: float


def candidates(
    conditions: Sequence[Condition], shares: Rows, seek: NDArray[np.intp]
) -> list[Candidate]:
    """The worst slices of the first half, one after another.

    The samples of each are set aside before the next is sought, so that one damage is not told in
    many disguises.
    """
    found: list[Candidate] = []
    rest = np.ones(len(shares), dtype=bool)
    while conditions and len(found) < MOST_TRIED:
        left = seek[rest[seek]]
        best = most_harmed(np.stack([one.inside[left] for one in conditions], axis=1), shares[left])
        if best is None:
            break
        first, second, extra = best
        text = " and ".join(dict.fromkeys((conditions[first].text, conditions[second].text)))
        inside = conditions[first].inside & conditions[second].inside
        found.append(Candidate(text, inside, rest, extra))
        rest = rest & ~inside
    return found


def most_harmed(masks: Mask, shares: Rows) -> tuple[int, int, float] | None:
    """The condition, or the pair of conditions, under which samples surely lose more than others.

    All pairs are judged at once: counts and sums of two conditions are products of their masks. A
    pair counts only where the samples under it also lose more than those under either condition
    that the other one leaves out; else the single condition says it all.

    Args:
        masks: which samples fulfil each condition (n, conditions).
        shares: each sample's part in the drop (n,).

    Returns:
        Two places, equal for a single condition, and the extra drop; None where nothing stands out.
    """
    chosen, powers = masks.astype(np.float64), [shares[:, None] ** power for power in range(3)]
    within = np.stack([chosen.T @ (chosen * values) for values in powers])
    whole = np.array([values.sum() if power else len(shares) for power, values in
                      enumerate(powers)])[:, None, None]  # fmt: skip
    counts, sums, squares = np.stack([within, whole - within], axis=1)
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
    place = int(np.where(usable, gap.score, -np.inf).argmax())
    first, second = sorted(divmod(place, masks.shape[1]))
    return first, second, float(gap.value[first, second])
