"""Rounding by error feedback against plain NumPy and against every choice there is."""

from itertools import product

import numpy as np
import pytest

from packlight.compression.reconstruction.gptq import Lattice, gptq, inverse_factor


def layer(seed, groups=1, outputs=8, inputs=24, samples=200):
    """A weight and second moments of inputs that go together."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((groups, inputs, inputs)) / np.sqrt(inputs)
    seen = random.standard_normal((groups, samples, inputs)) @ mixing
    moments = np.swapaxes(seen, 1, 2) @ seen / samples + 0.01 * np.eye(inputs)
    return random.standard_normal((groups, outputs, inputs)), moments


def grid(weight, bits, block=0):
    """A symmetric grid for each row, or for each block of its columns."""
    block = block or weight.shape[2]
    top = 2 ** (bits - 1) - 1
    starts = range(0, weight.shape[2], block)
    widest = [np.abs(weight[:, :, start : start + block]).max(axis=2) for start in starts]
    scale = np.stack(widest, axis=2) / top
    none, first = np.zeros((1, 0)), np.zeros(weight.shape[:2], np.int64)
    return Lattice(scale, np.zeros_like(scale), block, -top, top, none, first)


def nearest(weight, lattice):
    scale = np.repeat(lattice.scale, lattice.block, axis=2)[:, :, : weight.shape[2]]
    return np.clip(np.rint(weight / scale), lattice.low, lattice.high)


def lost(weight, values, moments):
    gap = values - weight
    return float(np.einsum("goi,gij,goj->", gap, moments, gap))


def column_by_column(weight, moments, lattice):
    """GPTQ as its paper gives it: after each column, solve for the columns that are left."""
    values = weight.copy()
    for row in values:
        free = row.copy()
        for column in range(len(row)):
            scale = lattice.scale[0, 0, 0] if lattice.scale.shape[1] == 1 else None
            assert scale is not None
            code = np.clip(np.rint(free[column] / scale), lattice.low, lattice.high)
            rest = slice(column + 1, None)
            inverse = np.linalg.inv(moments[column:, column:])
            gap = free[column] - code * scale
            free[rest] -= gap * inverse[0, 1:] / inverse[0, 0]
            row[column] = code * scale
    return values


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("groups", "block"), [(1, 0), (3, 0), (1, 7)])
def test_error_feedback_loses_less_than_rounding_to_the_nearest(groups, block, bits, ordered):
    weight, moments = layer(bits, groups)
    lattice = grid(weight, bits, block)

    codes = gptq(weight, moments, lattice, ordered)

    assert np.all((codes >= lattice.low) & (codes <= lattice.high))
    np.testing.assert_array_equal(codes, np.rint(codes))
    plain = lost(weight, lattice.values(nearest(weight, lattice)), moments)
    assert lost(weight, lattice.values(codes), moments) < 0.9 * plain


def test_it_is_at_least_as_good_as_the_paper_computes_it_column_by_column():
    weight, moments = layer(5, outputs=1, inputs=100)
    lattice = grid(weight, 3)

    codes = gptq(weight, moments, lattice, ordered=False)

    theirs = column_by_column(weight[0], moments[0], lattice)[None]
    assert lost(weight, lattice.values(codes), moments) <= lost(weight, theirs, moments) * 1.0001


def test_no_other_code_of_one_weight_alone_would_be_better():
    weight, moments = layer(7)
    lattice = grid(weight, 3)
    codes = gptq(weight, moments, lattice, ordered=True)
    least = lost(weight, lattice.values(codes), moments)

    for row, column, step in product(range(8), range(24), (-1, 1)):
        other = codes.copy()
        other[0, row, column] = np.clip(other[0, row, column] + step, -3, 3)
        assert lost(weight, lattice.values(other), moments) >= least - 1e-12


def test_inputs_that_do_not_go_together_are_rounded_to_the_nearest():
    weight, _ = layer(1)
    moments = np.diag(np.arange(1.0, 25.0))[None]
    lattice = grid(weight, 4)

    codes = gptq(weight, moments, lattice, ordered=True)

    np.testing.assert_array_equal(codes, nearest(weight, lattice))


def test_groups_that_read_the_same_are_rounded_as_rows_of_one():
    weight, moments = layer(2, outputs=6)
    split = weight.reshape(2, 3, 24)

    apart = gptq(split, moments, grid(split, 4), ordered=True)

    np.testing.assert_array_equal(
        apart.reshape(1, 6, 24), gptq(weight, moments, grid(weight, 4), ordered=True)
    )


def test_codes_of_a_table_are_its_nearest_entries_after_feedback():
    weight, moments = layer(3, outputs=4)
    table = np.quantile(weight, np.linspace(0.02, 0.98, 8))[None]
    ones = np.ones((1, 4, 1))
    lattice = Lattice(ones, 0 * ones, 24, 0, 7, table, np.zeros((1, 4), np.int64))

    codes = gptq(weight, moments, lattice, ordered=True)

    plain = table[0][np.abs(weight[..., None] - table[0]).argmin(axis=-1)]
    assert lost(weight, lattice.values(codes), moments) < 0.9 * lost(weight, plain, moments)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_factor_is_upper_triangular_and_gives_the_inverse(groups):
    _, moments = layer(4, groups)

    upper = inverse_factor(moments)

    np.testing.assert_array_equal(np.tril(upper, -1), 0)
    np.testing.assert_allclose(
        np.swapaxes(upper, 1, 2) @ upper, np.linalg.inv(moments), rtol=1e-8, atol=1e-9
    )
