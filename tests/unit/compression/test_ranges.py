"""Streaming histograms against NumPy on all values at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from packlight.compression.grids.ranges import BINS, LEVELS, HistogramObserver, affine_grid

VALUES = arrays.arrays(
    np.float32,
    st.integers(1, 300),
    elements=st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1e-30, -1e-6, 1e-45]),
)


def seen(*chunks):
    histogram = HistogramObserver()
    for chunk in chunks:
        histogram.update(chunk)
    return histogram


def bin_width(histogram):
    return 2 * histogram.reach / BINS


@given(VALUES)
def test_the_smallest_and_the_largest_value_are_exact(values):
    assert seen(values).minmax() == (values.min(), values.max())


@given(VALUES, st.floats(50.5, 100))
def test_a_percentile_is_that_of_all_values_within_a_bin(values, share):
    histogram = seen(values)

    low, high = histogram.percentile(share)

    width = bin_width(histogram) * 1.001
    outside = 1 - share / 100
    lowest, highest = (
        np.quantile(values, q, method=method)
        for q, method in ((outside, "lower"), (1 - outside, "higher"))
    )
    above = np.quantile(values, outside, method="higher")
    below = np.quantile(values, 1 - outside, method="lower")
    assert lowest - width <= low <= above + width
    assert below - width <= high <= highest + width
    assert values.min() <= low <= high <= values.max() or len(set(values.tolist())) == 1


@pytest.mark.parametrize("share", [90.0, 99.0, 99.9, 99.99])
@pytest.mark.parametrize("seed", range(3))
def test_a_percentile_of_many_values_is_numpys_within_two_bins(share, seed):
    values = np.random.default_rng(seed).standard_normal(200_000).astype(np.float32)
    histogram = seen(values)

    low, high = histogram.percentile(share)

    expected = np.quantile(values, [1 - share / 100, share / 100])
    np.testing.assert_allclose([low, high], expected, atol=2 * bin_width(histogram))


@given(VALUES, st.lists(st.integers(0, 300), max_size=5), st.randoms(use_true_random=False))
def test_chunks_and_their_order_move_a_percentile_by_at_most_a_bin(values, cuts, random):
    chunks = np.split(values, sorted(cut for cut in cuts if cut < values.size))
    random.shuffle(chunks)

    whole, parts = seen(values), seen(*chunks)

    assert parts.minmax() == whole.minmax()
    assert parts.counts.sum() == whole.counts.sum() == values.size
    assert parts.reach == max(whole.reach, parts.reach)
    np.testing.assert_allclose(
        parts.percentile(99), whole.percentile(99), atol=1.001 * bin_width(parts)
    )


def test_widening_keeps_every_count():
    histogram = seen(np.linspace(-1, 1, 1000))

    histogram.update(np.array([1e6]))

    assert histogram.counts.sum() == 1001
    assert histogram.reach >= 1e6


def test_memory_does_not_grow_with_the_values():
    histogram = seen(*(np.full((10, 10), 2.0**power) for power in range(-40, 40)))

    assert histogram.counts.shape == (BINS,)


def test_numbers_that_are_not_finite_are_counted_apart():
    histogram = seen(np.array([1.0, np.nan, np.inf, -np.inf, -2.0], np.float32))

    assert histogram.minmax() == (-2.0, 1.0)
    assert histogram.nonfinite == 3


def test_masks_as_large_as_float32_holds_do_not_overflow():
    largest = np.finfo(np.float32).max

    histogram = seen(np.array([-largest, 0, largest], np.float32))

    assert histogram.percentile(99) == pytest.approx((-largest, largest))


@given(VALUES)
def test_the_grid_of_activations_holds_zero_and_all_that_was_seen(values):
    found = affine_grid(seen(values), "minmax", 100)

    assert found.scale > 0
    assert 0 <= found.zero_point <= LEVELS
    codes = np.clip(np.rint(values / np.float32(found.scale)) + found.zero_point, 0, LEVELS)
    error = np.abs((codes - found.zero_point) * found.scale - values)
    assert np.all(error <= found.scale * 1.01 + 1e-30)


def test_values_of_one_sign_use_the_whole_grid():
    assert affine_grid(seen(np.array([0.5, 2.0])), "minmax", 100).zero_point == 0
    assert affine_grid(seen(np.array([-0.5, -2.0])), "minmax", 100).zero_point == LEVELS
    assert affine_grid(seen(np.array([0.5, 2.0])), "minmax", 100).scale == pytest.approx(2 / LEVELS)


def test_a_percentile_cuts_off_what_is_rare():
    values = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 10_000), [100.0]])

    kept = affine_grid(seen(values), "minmax", 99.9).scale
    cut = affine_grid(seen(values), "percentile", 99.9).scale

    assert kept == pytest.approx(101 / LEVELS, rel=0.01)
    assert cut == pytest.approx(2 / LEVELS, rel=0.1)


def rounded(values, grid):
    codes = np.clip(np.rint(values / grid.scale) + grid.zero_point, 0, LEVELS)
    return (codes - grid.zero_point) * grid.scale


@pytest.mark.parametrize("shift", [0.0, 0.7, -3.0])
def test_a_range_of_least_squares_costs_no_more_than_any_other(shift):
    random = np.random.default_rng(0)
    values = (random.standard_t(3, 50_000) + shift).astype(np.float32)
    histogram = seen(values)

    def cost(rule, share=99.99):
        return float(
            np.square(rounded(values, affine_grid(histogram, rule, share)) - values).mean()
        )

    best = cost("mse")
    assert best < cost("minmax")
    assert all(best <= 1.05 * cost("percentile", share) for share in (99, 99.9, 99.99, 99.999))


def test_a_range_of_least_divergence_cuts_off_what_is_rare_and_far():
    random = np.random.default_rng(0)
    values = random.standard_normal(100_000).astype(np.float32)
    values[0] = 40.0

    grid = affine_grid(seen(values), "kl", 100.0)

    assert grid.scale * LEVELS < 15
    assert float(np.mean(np.abs(rounded(values, grid) - values) > grid.scale)) < 0.005


@pytest.mark.parametrize("rule", ["minmax", "percentile", "mse", "kl"])
def test_zeros_and_constants_have_a_grid_under_every_rule(rule):
    for values in (np.zeros(9, np.float32), np.full(9, -2.5, np.float32), np.float32([1e-30, 0])):
        grid = affine_grid(seen(values), rule, 99.99)
        assert grid.scale > 0
        assert 0 <= grid.zero_point <= LEVELS


def test_the_share_outside_of_a_range_is_counted_by_bins():
    values = np.float32([-1, 0, 0, 0, 1, 2, 3, 4])

    assert seen(values).outside(-0.5, 2.5) == 3 / 8
