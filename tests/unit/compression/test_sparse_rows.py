"""Second-order pruning: its errors, computed here from the inputs themselves."""

import numpy as np
import pytest

from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.reconstruction.sparse_rows import (
    least_squares,
    prune_rows,
    refine_sparse_codes,
    unconstrained_lattice,
)
from packlight.compression.reconstruction.zero_masks import Sparsity

SPARSITIES = [Sparsity(0.5), Sparsity(0.8), Sparsity(0.5, 4), Sparsity(2 / 3, 3)]
ROWS, INPUTS, SAMPLES = 24, 70, 400


def layer(seed, groups=1):
    """A weight (groups, out, in) and inputs (groups, n, in) that go together."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((groups, INPUTS, INPUTS)) * np.geomspace(0.1, 2, INPUTS)
    inputs = random.standard_normal((groups, SAMPLES, INPUTS)) @ mixing
    return random.standard_normal((groups, ROWS, INPUTS)), inputs


def moments_of(inputs):
    return np.swapaxes(inputs, 1, 2) @ inputs / inputs.shape[1]


def error(weight, other, inputs):
    """Mean squared difference of the outputs."""
    gap = inputs @ np.swapaxes(weight - other, 1, 2)
    return float(np.square(gap).sum() / inputs.shape[1])


def by_size(weight, sparsity):
    """The smallest to zero, by sorting, for the whole weight or run by run."""
    out = weight.copy()
    if not sparsity.run:
        flat = out.reshape(-1)
        flat[np.argsort(np.abs(flat))[: round(sparsity.share * flat.size)]] = 0
        return out
    kept = sparsity.run - round(sparsity.share * sparsity.run)
    for row in out.reshape(-1, out.shape[2]):
        for start in range(0, len(row), sparsity.run):
            part = row[start : start + sparsity.run]
            part[np.argsort(-np.abs(part))[kept:]] = 0
    return out


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("sparsity", SPARSITIES, ids=str)
def test_second_order_pruning_errs_far_less_than_magnitude_where_inputs_go_together(
    sparsity, groups
):
    weight, inputs = layer(1, groups)

    found = prune_rows(weight, moments_of(inputs), ordered=True, sparsity=sparsity)

    assert np.count_nonzero(np.isnan(found)) == sparsity.count(weight.shape)
    ours = error(weight, np.nan_to_num(found), inputs)
    assert ours < 0.5 * error(weight, by_size(weight, sparsity), inputs)


@pytest.mark.parametrize("sparsity", SPARSITIES, ids=str)
def test_with_independent_inputs_it_is_magnitude_weighted_by_their_power(sparsity):
    weight, _ = layer(2)
    power = np.geomspace(0.01, 10, INPUTS)

    found = prune_rows(weight, np.diag(power)[None], ordered=True, sparsity=sparsity)

    wanted = by_size(weight * np.sqrt(power), sparsity) / np.sqrt(power)
    np.testing.assert_array_equal(np.isnan(found), wanted == 0)
    np.testing.assert_allclose(np.nan_to_num(found), wanted, rtol=1e-9)


def test_no_run_keeps_more_than_its_share():
    weight, inputs = layer(3)

    found = prune_rows(weight, moments_of(inputs), ordered=True, sparsity=Sparsity(0.5, 4))

    kept = ~np.isnan(found[..., : INPUTS // 4 * 4]).reshape(ROWS, -1, 4)
    np.testing.assert_array_equal(np.count_nonzero(kept, axis=2), 2)


def test_what_stays_has_the_least_squares_values():
    weight, inputs = layer(4)
    start = by_size(weight, Sparsity(0.5))

    found = least_squares(weight, np.where(start == 0, np.nan, start), moments_of(inputs))

    solved = np.zeros_like(weight)
    for row, goal, kept in zip(solved[0], weight[0], start[0] != 0, strict=True):
        row[kept] = np.linalg.lstsq(inputs[0][:, kept], inputs[0] @ goal, rcond=None)[0]
    best = error(weight, solved, inputs)
    assert best <= error(weight, np.nan_to_num(found), inputs) < 1.05 * best


@pytest.mark.parametrize("sparsity", SPARSITIES, ids=str)
def test_codes_of_what_stays_get_better_and_lie_on_the_lattice(sparsity):
    weight, inputs = layer(5, groups=2)
    moments = moments_of(inputs)
    scale = np.abs(weight).max(axis=2, keepdims=True) / 7
    table_of = np.zeros(weight.shape[:2], np.int64)
    lattice = Lattice(scale, np.zeros_like(scale), INPUTS, -7, 7, np.zeros((1, 0)), table_of)
    pruned = prune_rows(weight, moments, ordered=True, sparsity=sparsity)
    start = np.clip(np.rint(pruned / scale), -7, 7)

    codes = refine_sparse_codes(weight, start, moments, lattice, sparsity)

    kept = codes[~np.isnan(codes)]
    assert kept.size == weight.size - sparsity.count(weight.shape)
    np.testing.assert_array_equal(kept, np.clip(np.rint(kept), -7, 7))
    before, after = (error(weight, np.nan_to_num(one) * scale, inputs) for one in (start, codes))
    assert after < before


def test_where_every_value_can_be_taken_nothing_is_left_to_round():
    codes = np.array([[[1.5, np.nan]]])

    same = refine_sparse_codes(
        codes, codes, np.eye(2)[None], unconstrained_lattice(codes.shape), Sparsity(0.5)
    )

    assert same is codes
