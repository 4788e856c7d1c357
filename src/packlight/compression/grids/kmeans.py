"""Exact one-dimensional k-means.

Sorted values fall into k runs; the best runs follow from dynamic programming, because the cost of a
run, the weighted squared distance to its mean, satisfies the Monge condition. A price on every run
turns "exactly k runs" into "any number of runs" (the number falls as the price rises), which takes
O(n log n); the price that gives k runs is found by bisection. Where no price gives k, because two
numbers of runs tie, the layered program of O(k n log n) decides.
Source: Wang and Song, "Ckmeans.1d.dp" (R Journal 2011); Aggarwal, Schieber and Tokuyama, "Finding a
minimum-weight k-link path in graphs with the concave Monge property" (1994).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Sums = tuple[Doubles, Doubles, Doubles]

DISTINCT = 65_536
"""Distinct values up to which the result is exact; above, values share bins of float16 width."""

HALF_TOP = 32_768.0
"""Where the largest value is moved before it is rounded to a bin, so that no bin is subnormal."""

LARGEST = float(np.finfo(np.float32).max)

BISECTIONS = 80
_MAX_CANCELLATION = 2.0**26
"""Times the cost that the squared distances to the mean may be for their sums to be trusted.

A difference of two sums of float64 is off by some sqrt(n) 2^-53 of the sums. With n = 65,536 values
in k = 256 runs, each of which ends in two sums, the cost of what is found is at most 2 k 2^8 2^-53
of the squared distances above the least: 0.1 % of a cost 2^26 times smaller.
"""

CHUNK_SIZE = 1 << 18
"""Numbers that are looked at together: what is made of them fits a processor's cache."""


def cluster(
    values: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    k: int,
    distinct: int = DISTINCT,
) -> Doubles:
    """Centres that minimise the weighted squared distance of each value to the nearest.

    Args:
        values: finite, of any shape, at least one.
        weights: of the same shape, at least 0; each 1 where None.
        k: centres at most; fewer where there are fewer distinct values.
        distinct: values above which they share bins, a power of 2, at most 65,536.

    Returns:
        Centres, increasing, at most k. Optimal for up to ``distinct`` values, else with 65,536 bins
        within 0.1 % of the optimum.
    """
    mass_of = None if weights is None else weights.ravel()
    points, mass, first = _weighted_values(values.ravel(), mass_of, distinct)
    if len(points) <= k:
        return points
    middle = float(np.average(points, weights=mass))
    sums = _cumulative_sums(points - middle, mass, first - middle * mass, 0)
    ends = _boundaries(sums, k, bare=False)
    centres = _means(mass, first, ends)
    if sums[2][-1] > _MAX_CANCELLATION * _residual(points, mass, centres, ends):
        ends = _boundaries(_sums_from_median(points, mass), k, bare=True)
        centres = _means(mass, first, ends)
    return centres


def _means(mass: Doubles, first: Doubles, ends: Indices) -> Doubles:
    """The mean of each run."""
    return np.asarray(np.add.reduceat(first, ends[:-1]) / np.add.reduceat(mass, ends[:-1]))


def _residual(points: Doubles, mass: Doubles, centres: Doubles, ends: Indices) -> float:
    """The weighted squared distances to the means of the runs, without a difference of sums."""
    return float(mass @ (points - np.repeat(centres, np.diff(ends))) ** 2)


def _sums_from_median(points: Doubles, mass: Doubles) -> Sums:
    """Sums that grow from the weighted median outwards, so that far values spoil no near ones."""
    total = np.cumsum(mass)
    start = int(np.searchsorted(total, total[-1] / 2))
    near = points - points[start]
    return _cumulative_sums(near, mass, near * mass, start)


def _cumulative_sums(points: Doubles, mass: Doubles, first: Doubles, start: int) -> Sums:
    """Cumulative sums of mass, of mass times value and of mass times its square, 0 at a place."""
    parts = (mass, first, first * points)
    below = [-np.cumsum(part[:start][::-1])[::-1] for part in parts]
    above = [np.cumsum(part[start:]) for part in parts]
    mass_sum, first_sum, second_sum = (
        np.concatenate([low, [0.0], high]) for low, high in zip(below, above, strict=True)
    )
    return mass_sum, first_sum, second_sum


def _weighted_values(
    values: NDArray[np.float32], weights: NDArray[np.float32] | None, distinct: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Distinct values in order, their masses, and mass times value.

    Values without mass are left out, unless all are.
    """
    if weights is not None and weights.any():
        values, weights = values[weights > 0], weights[weights > 0]
    else:
        weights = None
    points, mass, first = _bin_values(values, weights, distinct)
    return points, mass, first


def _bin_values(
    values: NDArray[np.float32], weights: NDArray[np.float32] | None, distinct: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Group equal values, or where there are too many those of equal float16 or its first bits."""
    if values.size <= distinct:
        points, place = np.unique(values, return_inverse=True)
        mass = np.bincount(place, weights, len(points)).astype(np.float64)
        exact = points.astype(np.float64)
        return exact, mass, exact * mass
    top = max(float(values.max()), -float(values.min()))
    mass, first = np.zeros(distinct), np.zeros(distinct)
    fewer = np.uint16((DISTINCT // distinct).bit_length() - 1)
    for part in _chunks(values.size):
        some = values[part]
        shares = None if weights is None else weights[part]
        keys = _float16_keys(some, top) >> fewer
        mass += np.bincount(keys, shares, distinct)
        moved = some if shares is None else np.multiply(some, shares, dtype=np.float64)
        first += np.bincount(keys, moved, distinct)
    used = mass > 0
    mass, first = mass[used], first[used]
    return first / mass, mass, first


def _chunks(count: int) -> Iterator[slice]:
    """A long row of numbers cut up, so that what is made of one part stays small."""
    return (slice(start, start + CHUNK_SIZE) for start in range(0, count, CHUNK_SIZE))


def _float16_keys(values: NDArray[np.float32], widest: float) -> NDArray[np.uint16]:
    """An integer for each value that grows with it, equal for values of equal float16.

    Args:
        values: of any shape.
        widest: at least each of their magnitudes; keys are comparable where it is the same.
    """
    scale = np.float32(min(HALF_TOP / widest, LARGEST)) if widest else np.float32(1)
    bits = (values * scale).astype(np.float16).view(np.uint16)
    return np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16)


def _boundaries(sums: Sums, k: int, *, bare: bool) -> Indices:
    """Start of each of k runs, and the end of the last.

    Args:
        sums: cumulative, (n + 1,) each.
        k: below n.
        bare: whether a run of one value costs exactly nothing.
    """
    kernels, second = _kernels(), sums[2]
    low, high = 0.0, float(second[-1] - second[0]) + 1e-300
    for _ in range(BISECTIONS):
        price = high * 2.0**-40 if low == 0 else float(np.sqrt(low * high))
        origin, count = kernels.priced(*sums, bare, price)
        if count == k:
            return _trace_back(origin, len(second) - 1)
        if count > k:
            low = price
        else:
            high = price
        if low and high / low < 1 + 1e-14:
            break
    return np.asarray(kernels.layered(*sums, bare, k), np.int64)


def _trace_back(origin: Indices, end: int) -> Indices:
    """The boundaries on the way back from the end."""
    ends = [end]
    while ends[-1]:
        ends.append(int(origin[ends[-1]]))
    return np.array(ends[::-1], np.int64)


def _kernels() -> ModuleType:
    """The compiled kernels; numba is loaded only when they are used."""
    return import_module("packlight.compression.grids.kmeans_kernels")
