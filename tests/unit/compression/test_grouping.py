"""Uniform grids: laws of rounding and grouping."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from packlight.compression.grids import grouping as scale_groups
from packlight.compression.grids.uniform import fit_grid

TINY = [0.0, 1e-45, -1e-45, 1e-40]  # steps of such groups underflow float32
NUMBERS = st.floats(-1e3, 1e3, width=32) | st.sampled_from(TINY)
SHAPES = arrays.array_shapes(min_dims=2, max_dims=4, max_side=7)
BITS = st.sampled_from([2, 3, 4, 7, 8])


def groupings(shape, draw):
    """Every way to share scales in a weight of this shape."""
    first = draw(st.integers(0, len(shape) - 1))
    summed = tuple(range(first, draw(st.integers(first, len(shape) - 1)) + 1))
    size = draw(st.integers(1, 9))
    return {
        "tensor": scale_groups.per_tensor(shape),
        "channel": scale_groups.per_channel(shape, summed),
        "block": scale_groups.per_block(shape, summed, size),
    }[draw(st.sampled_from(["tensor", "channel", "block"]))]


@st.composite
def weights(draw):
    weight = draw(arrays.arrays(np.float32, SHAPES, elements=NUMBERS))
    if draw(st.booleans()):
        weight = np.full(weight.shape, draw(NUMBERS), np.float32)
    return weight, groupings(weight.shape, draw)


@given(weights(), BITS)
def test_rounding_error_is_at_most_half_a_step(drawn, bits):
    weight, grouping = drawn

    points = fit_grid(weight, weight, grouping, bits, symmetric=True, search="minmax")
    scale, codes = points.scale, grouping.split(points.nearest(weight))

    assert scale.shape == grouping.scale
    assert codes.shape == grouping.view
    assert np.all(scale > 0)
    assert np.all(np.isfinite(scale))
    assert np.all(np.abs(codes.astype(int)) <= scale_groups.top_code(bits))
    step = np.broadcast_to(scale, grouping.view)
    error = np.abs(grouping.split(weight).astype(np.float64) - codes * step.astype(np.float64))
    assert np.all(error <= step / 2 * (1 + 1e-5) + 1e-30)


@given(weights(), BITS)
def test_the_grid_just_reaches_the_largest_weight_of_every_group(drawn, bits):
    weight, grouping = drawn
    axes = tuple(axis for axis, size in enumerate(grouping.scale) if size == 1)

    scale, _ = scale_groups.minmax_scale(weight, grouping, bits)

    widest = np.abs(grouping.split(weight)).max(axis=axes, keepdims=True)
    normal = widest > 1e-30
    top = np.float32(scale_groups.top_code(bits))
    np.testing.assert_allclose((scale * top)[normal], widest[normal], rtol=1e-6)


@given(weights())
def test_joining_undoes_splitting(drawn):
    weight, grouping = drawn

    joined = grouping.join(grouping.split(weight))

    np.testing.assert_array_equal(joined.reshape(weight.shape), weight)


@given(weights(), BITS, st.booleans())
def test_points_of_the_grid_stay_where_they_are(drawn, bits, symmetric):
    weight, grouping = drawn
    points = fit_grid(weight, weight, grouping, bits, symmetric=symmetric, search="minmax")
    exact = np.exp2(np.round(np.log2(points.scale))).astype(np.float32)  # products are exact then
    points = replace(points, scale=exact)
    codes = points.nearest(weight)

    again = points.nearest(points.values(codes))

    np.testing.assert_array_equal(again, codes)


@given(weights(), BITS)
def test_zero_is_a_point_of_every_grid_and_both_ends_are_in_reach(drawn, bits):
    weight, grouping = drawn

    points = fit_grid(weight, weight, grouping, bits, symmetric=False, search="minmax")

    assert np.all((points.zero >= 0) & (points.zero <= 2**bits - 1))
    np.testing.assert_array_equal(points.zero, np.rint(points.zero))
    np.testing.assert_array_equal(points.values(points.nearest(weight * 0)), weight * 0)
    error = np.abs(grouping.split(weight - points.values(points.nearest(weight))))
    assert np.all(error <= np.broadcast_to(points.scale, error.shape) * (1 + 1e-5) + 1e-30)


@pytest.mark.parametrize(("size", "bits"), [(5, 2), (9, 3), (24, 4), (40, 8)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_searched_scale_is_as_good_as_the_best_of_a_hundred_thousand(
    size, bits, weighted, symmetric
):
    random = np.random.default_rng(size)
    weight = random.standard_normal((1, size)).astype(np.float32)
    matters = random.random((1, size)).astype(np.float32) if weighted else np.ones_like(weight)
    grouping = scale_groups.per_channel(weight.shape, (1,))
    search = "moments" if weighted else "mse"
    points = fit_grid(weight, matters, grouping, bits, symmetric=symmetric, search=search)

    def error(scale, zero):
        low, high = points.code_range
        rounded = np.clip(np.rint(weight / scale) + zero, low, high)
        return np.sum(matters * (weight - (rounded - zero) * scale) ** 2, dtype=np.float64, axis=1)

    widest = np.abs(weight).max() / (points.code_range[1] - float(points.zero[0, 0]) - 0.5)
    tried = np.geomspace(widest / 50, widest, 100_000)[:, None]
    if symmetric:
        best = error(tried, 0.0).min()
    else:
        best = min(error(tried[::20], zero).min() for zero in range(2**bits))
    assert error(points.scale, points.zero)[0] <= best * (1 + 1e-4)


@given(weights(), BITS, st.booleans())
def test_a_searched_range_is_never_worse_than_the_widest(drawn, bits, symmetric):
    weight, grouping = drawn

    def error(search):
        points = fit_grid(
            weight, np.ones_like(weight), grouping, bits, symmetric=symmetric, search=search
        )
        gaps = weight - points.values(points.nearest(weight)).astype(np.float64)
        return float(np.sum(gaps**2))

    assert error("mse") <= error("minmax") * (1 + 1e-4) + 1e-30


@pytest.mark.parametrize(
    ("size", "count", "padded"),
    [(1, 10, (10, 3)), (4, 3, (12, 3)), (10, 1, (10, 3)), (7, 2, (14, 3))],
)
def test_the_last_block_may_be_shorter(size, count, padded):
    grouping = scale_groups.per_block((10, 3), (0,), size)

    assert grouping.padded == padded
    assert grouping.scale == (count, 1, 3)
    assert grouping.groups() == count * 3


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_grid_is_symmetric_and_fits_its_width(bits):
    assert (
        -(2 ** (bits - 1))
        < -scale_groups.top_code(bits)
        < scale_groups.top_code(bits)
        < 2 ** (bits - 1)
    )


@pytest.mark.parametrize("size", [10, 11, 100_000])
def test_a_block_has_no_more_inputs_than_there_are(size):
    assert scale_groups.per_block((10, 3), (0,), size) == scale_groups.per_block((10, 3), (0,), 10)
