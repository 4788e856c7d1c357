"""Which weights become zero: exactly as many as asked for, and the cheapest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.compression.reconstruction.zero_masks import Sparsity, cheapest_mask


@st.composite
def costs(draw):
    """Costs (groups, out, in), many of them equal."""
    sizes = [draw(st.integers(1, top)) for top in (3, 5, 17)]
    seed, distinct = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 30))
    return np.random.default_rng(seed).integers(0, distinct, sizes).astype(np.float64)


@given(costs(), st.floats(0, 0.999))
def test_exactly_the_share_becomes_zero_and_none_that_costs_more_than_one_that_stays(cost, share):
    sparsity = Sparsity(share)

    zeros = sparsity.cheapest(cost)

    assert np.count_nonzero(zeros) == sparsity.count(cost.shape) == round(share * cost.size)
    assert cost[zeros].max(initial=-np.inf) <= cost[~zeros].min(initial=np.inf)


@given(costs(), st.integers(2, 6), st.data())
def test_every_run_keeps_its_dearest_and_a_shorter_one_no_more_than_others(cost, run, data):
    kept = data.draw(st.integers(1, run - 1))
    sparsity = Sparsity(1 - kept / run, run)

    zeros = sparsity.cheapest(cost)

    assert np.count_nonzero(zeros) == sparsity.count(cost.shape)
    for row, chosen in zip(
        cost.reshape(-1, cost.shape[2]), zeros.reshape(-1, cost.shape[2]), strict=True
    ):
        for start in range(0, len(row), run):
            part, gone = row[start : start + run], chosen[start : start + run]
            assert np.count_nonzero(~gone) == min(kept, len(part))
            assert part[gone].max(initial=-np.inf) <= part[~gone].min()


def test_the_first_of_equals_go_first():
    np.testing.assert_array_equal(
        cheapest_mask(np.array([2.0, 1, 1, 1]), 2), [False, True, True, False]
    )


@pytest.mark.parametrize(
    ("run", "columns", "lane"), [(0, 64, 64), (4, 64, 64), (3, 64, 63), (100, 64, 100)]
)
def test_a_lane_cuts_no_run(run, columns, lane):
    assert Sparsity(0.5, run).block_columns(columns) == lane
