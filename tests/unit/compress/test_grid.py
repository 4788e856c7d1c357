"""Uniform grids: laws of rounding and grouping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from packlight.compress import grid

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
        "tensor": grid.per_tensor(shape),
        "channel": grid.per_channel(shape, summed),
        "block": grid.blocks(shape, summed, size),
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

    scale = grid.widest_scale(weight, grouping, bits)
    codes = grid.nearest(weight, scale, grouping, bits)

    assert scale.shape == grouping.scale
    assert codes.shape == grouping.view
    assert np.all(scale > 0)
    assert np.all(np.isfinite(scale))
    assert np.all(np.abs(codes.astype(int)) <= grid.top_code(bits))
    step = np.broadcast_to(scale, grouping.view)
    error = np.abs(grouping.split(weight).astype(np.float64) - codes * step.astype(np.float64))
    assert np.all(error <= step / 2 * (1 + 1e-5) + 1e-30)


@given(weights(), BITS)
def test_the_grid_just_reaches_the_largest_weight_of_every_group(drawn, bits):
    weight, grouping = drawn
    axes = tuple(axis for axis, size in enumerate(grouping.scale) if size == 1)

    scale = grid.widest_scale(weight, grouping, bits)

    widest = np.abs(grouping.split(weight)).max(axis=axes, keepdims=True)
    normal = widest > 1e-30
    top = np.float32(grid.top_code(bits))
    np.testing.assert_allclose((scale * top)[normal], widest[normal], rtol=1e-6)


@given(weights())
def test_joining_undoes_splitting(drawn):
    weight, grouping = drawn

    joined = grouping.join(grouping.split(weight))

    np.testing.assert_array_equal(joined.reshape(weight.shape), weight)


@given(weights(), BITS)
def test_points_of_the_grid_stay_where_they_are(drawn, bits):
    weight, grouping = drawn
    scale = grid.widest_scale(weight, grouping, bits)
    codes = grid.nearest(weight, scale, grouping, bits)
    exact = np.exp2(np.round(np.log2(scale))).astype(np.float32)  # products are exact then
    points = grouping.join(codes * exact).reshape(grouping.shape)

    again = grid.nearest(points, exact, grouping, bits)

    inside = grouping.join(again).reshape(grouping.shape)
    np.testing.assert_array_equal(inside * 1, grouping.join(codes).reshape(grouping.shape))


@pytest.mark.parametrize(
    ("size", "count", "padded"),
    [(1, 10, (10, 3)), (4, 3, (12, 3)), (10, 1, (10, 3)), (64, 1, (64, 3))],
)
def test_the_last_block_may_be_shorter(size, count, padded):
    grouping = grid.blocks((10, 3), (0,), size)

    assert grouping.padded == padded
    assert grouping.scale == (count, 1, 3)
    assert grouping.groups() == count * 3


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_grid_is_symmetric_and_fits_its_width(bits):
    assert -(2 ** (bits - 1)) < -grid.top_code(bits) < grid.top_code(bits) < 2 ** (bits - 1)
