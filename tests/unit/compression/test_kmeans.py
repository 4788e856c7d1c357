"""Exact k-means against brute force, and against a program of its own on larger cases."""

from fractions import Fraction
from itertools import accumulate, combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from packlight.compression.grids import kmeans


def squared_error(values, centres, weights=None):
    gaps = (values.astype(np.float64)[:, None] - centres[None, :]) ** 2
    nearest = gaps.min(axis=1)
    return float(nearest.sum() if weights is None else (nearest * weights).sum())


def brute_force(values, weights, k):
    """The least cost over all ways to cut the sorted values into at most k runs."""
    order = np.argsort(values, kind="stable")
    values, weights = values[order].astype(np.float64), weights[order].astype(np.float64)
    best = np.inf
    for cuts in combinations(range(1, len(values)), min(k, len(values)) - 1):
        ends = [0, *cuts, len(values)]
        cost = 0.0
        for start, end in pairwise(ends):
            mass = weights[start:end].sum()
            if mass > 0:
                mean = (values[start:end] * weights[start:end]).sum() / mass
                cost += (weights[start:end] * (values[start:end] - mean) ** 2).sum()
        best = min(best, cost)
    return best


SMALL = arrays.arrays(np.float32, st.integers(1, 9), elements=st.floats(-100, 100, width=32))


@given(SMALL, st.integers(1, 4))
def test_the_cost_equals_that_of_brute_force(values, k):
    centres = kmeans.cluster(values, None, k)

    expected = brute_force(values, np.ones_like(values), k)
    assert len(centres) <= k
    assert np.all(np.diff(centres) > 0)
    assert squared_error(values, centres) <= expected * (1 + 1e-6) + 1e-7


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_the_weighted_cost_equals_that_of_brute_force(seed, k):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(8).astype(np.float32)
    weights = rng.random(8).astype(np.float32) * rng.integers(0, 2, 8).astype(np.float32)
    weights[0] = 1

    centres = kmeans.cluster(values, weights, k)

    expected = brute_force(values, weights, k)
    assert squared_error(values, centres, weights) <= expected * (1 + 1e-5) + 1e-9


def quadratic_program(values, weights, k):
    """The textbook program over all pairs, O(k n^2)."""
    order = np.argsort(values)
    values, weights = values[order].astype(np.float64), weights[order].astype(np.float64)
    parts = (weights, weights * values, weights * values**2)
    mass, sums, squares = (np.concatenate([[0], np.cumsum(part)]) for part in parts)
    n = len(values)
    start, end = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    within = np.where(mass[end] > mass[start], mass[end] - mass[start], 1)
    cost = squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / within
    cost[start > end] = np.inf
    best = cost[0]
    for _ in range(k - 1):
        best = (best[:, None] + cost).min(axis=0)
    return best[n]


@pytest.mark.parametrize("k", [2, 7, 16, 64])
@pytest.mark.parametrize("name", ["normal", "ties", "two clumps"])
@pytest.mark.parametrize("mass", ["even", "random", "many without", "of every size"])
def test_the_cost_equals_that_of_an_independent_program(mass, name, k):
    rng = np.random.default_rng(k)
    values = {
        "normal": rng.standard_normal(600),
        "ties": rng.integers(0, 90, 600) / 7,
        "two clumps": np.concatenate([rng.normal(0, 1e-3, 300), rng.normal(5, 1, 300)]),
    }[name].astype(np.float32)

    weights = {
        "even": np.ones(600),
        "random": rng.random(600),
        "many without": rng.random(600) * rng.integers(0, 2, 600),
        "of every size": np.exp2(rng.uniform(-12, 4, 600)),
    }[mass].astype(np.float32)

    centres = kmeans.cluster(values, None if mass == "even" else weights, k)

    expected = quadratic_program(values, weights, k)
    found = squared_error(values, centres, weights)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


def exact_program(values, weights, k):
    """The least cost of at most k runs, in fractions."""
    order = np.argsort(values, kind="stable")
    points = [Fraction(float(value)) for value in values[order]]
    mass = [Fraction(float(weight)) for weight in weights[order]]
    moments = [
        list(accumulate((m * x**power for m, x in zip(mass, points, strict=True)), initial=0))
        for power in range(3)
    ]

    def cost(start, end):
        total, first, second = (sums[end] - sums[start] for sums in moments)
        return second - first**2 / total

    ends = range(1, len(points) + 1)
    costs = {(start, end): cost(start, end) for end in ends for start in range(end)}
    best = [Fraction(0), *(costs[0, end] for end in ends)]
    for _ in range(k - 1):
        best = [
            Fraction(0),
            *(min(best[start] + costs[start, end] for start in range(end)) for end in ends),
        ]
    return best[-1]


def exact_cost(values, weights, centres):
    """The cost of centres, in fractions; far values at centres near them cost what they do."""
    points = [Fraction(float(value)) for value in values]
    known = [Fraction(float(centre)) for centre in centres]
    return sum(
        Fraction(float(weight)) * min((point - centre) ** 2 for centre in known)
        for point, weight in zip(points, weights, strict=True)
    )


FAR = [1e3, 1e5, 1e6, 1e7, 1e8, 1e10, 1e15, 1e20]


@pytest.mark.parametrize("signs", [(1,), (-1,), (1, -1), (-1, -1.5)])
@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("even", [True, False])
def test_values_far_away_spoil_no_runs_of_the_others(even, far, signs):
    rng = np.random.default_rng(0)
    values = (0.02 * rng.standard_normal(48)).astype(np.float32)
    values[: len(signs)] = np.multiply(signs, far)
    weights = np.ones(48, np.float32) if even else np.exp2(rng.uniform(-6, 2, 48), dtype=np.float32)

    centres = kmeans.cluster(values, None if even else weights, 6)

    expected = exact_program(values, weights, 6)
    assert exact_cost(values, weights, centres) <= expected * Fraction(1.001)


@pytest.mark.parametrize("far", [-1e7, 1e7, -1e20])
def test_one_value_far_away_among_many_costs_one_centre(far):
    values = (0.02 * np.random.default_rng(0).standard_normal(1600)).astype(np.float32)
    without = kmeans.cluster(values[1:], None, 15)
    values[0] = far

    centres = kmeans.cluster(values, None, 16)

    near = centres[np.abs(centres) < 1]
    np.testing.assert_allclose(near, without, rtol=1e-9)


def test_many_distinct_values_are_within_a_thousandth_of_the_optimum():
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)

    centres = kmeans.cluster(values, None, 16)

    # The optimum of 200,000 distinct values, by Lloyd's iterations from the result: they only
    # improve it, so what they gain bounds what was missed near it.
    better = centres.copy()
    for _ in range(50):
        owner = np.searchsorted((better[1:] + better[:-1]) / 2, values)
        better = np.bincount(owner, values) / np.bincount(owner)
    middles = [(c[1:] + c[:-1]) / 2 for c in (centres, better)]
    found, bound = (
        float(((values - c[np.searchsorted(m, values)]) ** 2).sum())
        for c, m in zip((centres, better), middles, strict=True)
    )
    assert found <= bound * 1.001


def test_fewer_distinct_values_than_centres_are_their_own_centres():
    values = np.array([3, 1, 3, 1, 2], np.float32)

    np.testing.assert_array_equal(kmeans.cluster(values, None, 8), [1, 2, 3])


def test_values_without_weight_do_not_matter_unless_none_has_any():
    values = np.array([1, 2, 100], np.float32)

    np.testing.assert_allclose(kmeans.cluster(values, np.array([1, 1, 0], np.float32), 1), [1.5])
    np.testing.assert_allclose(
        kmeans.cluster(values, np.zeros(3, np.float32), 1), [103 / 3], rtol=1e-6
    )
