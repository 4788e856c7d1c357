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
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from packlight.compression.threads import load_kernels

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Sums = tuple[Doubles, Doubles, Doubles]

DISTINCT = 65_536
"""Distinct values up to which the result is exact; above, values share bins of float16 width."""

HALF_TOP = 32_768.0
"""Magnitude to which the largest value is scaled before binning, so that no bin is subnormal."""

LARGEST = float(np.finfo(np.float32).max)

BISECTIONS = 80
_MAX_CANCELLATION = 2.0**26
"""Largest ratio of the squared distances to the mean and the cost at which sums are accurate.

A difference of two sums of float64 is off by some sqrt(n) 2^-53 of the sums. With n = 65,536 values
in k = 256 runs, each of which ends in two sums, the resulting cost exceeds the least by at most
2 k 2^8 2^-53 of the squared distances: 0.1 % of a cost 2^26 times smaller.
"""

CHUNK_SIZE = 1 << 18
"""Elements that are processed together, so that intermediate arrays fit a processor's cache."""


def cluster(
    values: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    k: int,
    distinct: int = DISTINCT,
) -> Doubles:
    """Centers that minimize the weighted squared distance of each value to the nearest.

    Args:
        values: finite, of any shape, at least one.
        weights: of the same shape, at least 0; each 1 where None.
        k: centers at most; fewer where there are fewer distinct values.
        distinct: values above which they share bins, a power of 2, at most 65,536.

    Returns:
        Centers, increasing, at most k. Optimal for up to ``distinct`` values, else with 65,536 bins
        within 0.1 % of the optimum.
    """
    if weights is not None:
        weights = weights.ravel()
    points, mass, first = _weighted_values(values.ravel(), weights, distinct)
    if len(points) <= k:
        return points
    middle = float(np.average(points, weights=mass))
    sums = _cumulative_sums(points - middle, mass, first - middle * mass, 0)
    ends = _boundaries(sums, k, bare=False)
    centers = _means(mass, first, ends)
    if sums[2][-1] > _MAX_CANCELLATION * _residual(points, mass, centers, ends):
        ends = _boundaries(_sums_from_median(points, mass), k, bare=True)
        centers = _means(mass, first, ends)
    return centers


def _means(mass: Doubles, first: Doubles, ends: Indices) -> Doubles:
    return np.asarray(np.add.reduceat(first, ends[:-1]) / np.add.reduceat(mass, ends[:-1]))


def _residual(points: Doubles, mass: Doubles, centers: Doubles, ends: Indices) -> float:
    """Weighted squared distances to the means of the runs, without a difference of sums."""
    return float(mass @ (points - np.repeat(centers, np.diff(ends))) ** 2)


def _sums_from_median(points: Doubles, mass: Doubles) -> Sums:
    """Sums from the weighted median outwards, so that far values do not spoil close ones."""
    total = np.cumsum(mass)
    start = int(np.searchsorted(total, total[-1] / 2))
    offsets = points - points[start]
    return _cumulative_sums(offsets, mass, offsets * mass, start)


def _cumulative_sums(points: Doubles, mass: Doubles, first: Doubles, start: int) -> Sums:
    """Cumulative sums of mass, mass times value and mass times its square, 0 at index ``start``."""
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

    Values without mass are dropped, unless all are.
    """
    if weights is None or not weights.any():
        return _bin_values(values, None, distinct)
    return _bin_values(values[weights > 0], weights[weights > 0], distinct)


def _bin_values(
    values: NDArray[np.float32], weights: NDArray[np.float32] | None, distinct: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Group equal values; of too many, values of equal float16 or equal first bits of it."""
    if values.size <= distinct:
        points, index = np.unique(values, return_inverse=True)
        mass = np.bincount(index, weights, len(points)).astype(np.float64)
        exact = points.astype(np.float64)
        return exact, mass, exact * mass
    top = max(float(values.max()), -float(values.min()))
    mass = np.zeros(distinct)
    first = np.zeros(distinct)
    fewer = np.uint16((DISTINCT // distinct).bit_length() - 1)
    for part in _chunks(values.size):
        chunk: NDArray[np.floating] = values[part]
        keys = _float16_keys(values[part], top) >> fewer
        if weights is None:
            mass += np.bincount(keys, minlength=distinct)
        else:
            mass += np.bincount(keys, weights[part], distinct)
            chunk = np.multiply(chunk, weights[part], dtype=np.float64)
        first += np.bincount(keys, chunk, distinct)
    used = mass > 0
    return first[used] / mass[used], mass[used], first[used]


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK_SIZE) for start in range(0, count, CHUNK_SIZE))


def _float16_keys(values: NDArray[np.float32], widest: float) -> NDArray[np.uint16]:
    """Integers in the order of the values, equal for values of equal float16.

    Args:
        values: of any shape.
        widest: at least each of their magnitudes; keys are comparable where it is equal.
    """
    scale = np.float32(1)
    if widest:
        scale = np.float32(min(HALF_TOP / widest, LARGEST))
    bits = (values * scale).astype(np.float16).view(np.uint16)
    return np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16)


def _boundaries(sums: Sums, k: int, *, bare: bool) -> Indices:
    """Start of each of k runs, and the end of the last.

    Args:
        sums: cumulative, (n + 1,) each.
        k: below n.
        bare: a run of one value costs exactly nothing.
    """
    kernels = _kernels()
    second = sums[2]
    low = 0.0
    high = float(second[-1] - second[0]) + 1e-300
    for _ in range(BISECTIONS):
        price = high * 2.0**-40 if low == 0 else float(np.sqrt(low * high))
        origin, count = kernels.runs_at_price(*sums, bare, price)
        if count == k:
            return _trace_back(origin, len(second) - 1)
        if count > k:
            low = price
        else:
            high = price
        if low and high / low < 1 + 1e-14:
            break
    return np.asarray(kernels.exact_runs(*sums, bare, k), np.int64)


def _trace_back(origin: Indices, end: int) -> Indices:
    ends = [end]
    while ends[-1]:
        ends.append(int(origin[ends[-1]]))
    return np.array(ends[::-1], np.int64)


def _kernels() -> ModuleType:
    """The compiled kernels; loads numba when they are first used."""
    return load_kernels("grids.kmeans_kernels")
