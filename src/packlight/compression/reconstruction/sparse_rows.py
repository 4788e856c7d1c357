"""Sparse rows of weights: their nonzeros, and the values of these.

Second-order pruning drops the weights of least error block after block of columns, and the columns
after it compensate. Then zeros and nonzeros are exchanged, one for another, while the error falls,
and in turns with that the nonzeros take their least-squares values.
Source: Hassibi and Stork, "Optimal Brain Surgeon" (NIPS 1992); Frantar and Alistarh, "SparseGPT"
(ICML 2023); Meng et al., "ALPS" (NeurIPS 2024) for the conjugate gradients; Hazimeh and Mazumder,
"Fast Best Subset Selection" (2020) for the exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from packlight.compression.reconstruction.gptq import CHUNK_ROWS, Lattice, gptq
from packlight.compression.reconstruction.hessian import BlockHessian
from packlight.compression.reconstruction.zero_masks import Sparsity
from packlight.compression.threads import load_kernels

Doubles = NDArray[np.float64]

TURNS = 2
"""Times that least squares and exchanges follow each other."""

SWEEPS = 3
"""Exchanges of every weight in one turn, at most."""

FINAL_SWEEPS = 20
"""Exchanges of every weight that takes values of a lattice, at most."""

MAX_STEPS = 40
"""Of conjugate gradients."""

MIN_GAIN = 1e-3
"""Share of the error below which the gain of another step is not worth its time."""


def prune_blocks(
    weight: Doubles, hessian: BlockHessian, *, ordered: bool, sparsity: Sparsity
) -> Doubles:
    """As ``prune_rows``, for each block of inputs alone; the share of zeros is the same in all."""
    parts = [
        prune_rows(
            weight[:, :, columns], block, ordered, sparsity.of_columns(weight.shape, columns)
        )
        for columns, block in hessian.parts()
    ]
    return np.concatenate(parts, axis=2)


def refine_blocks(
    weight: Doubles, codes: Doubles, hessian: BlockHessian, lattice: Lattice, sparsity: Sparsity
) -> Doubles:
    """As ``refine_sparse_codes``, for each block of inputs alone."""
    parts = [
        refine_sparse_codes(
            weight[:, :, columns], codes[:, :, columns], block, lattice.columns(columns), sparsity
        )
        for columns, block in hessian.parts()
    ]
    return np.concatenate(parts, axis=2)


def prune_rows(weight: Doubles, hessian: Doubles, ordered: bool, sparsity: Sparsity) -> Doubles:
    """Sparse rows of least error.

    Args:
        weight: (groups, out, in).
        hessian: (groups, in, in), or (1, in, in) where all groups read the same; positive definite.
        ordered: whether columns of large inputs come first.
        sparsity: how many become zero.

    Returns:
        (groups, out, in); NaN where a weight became zero.
    """
    free = unconstrained_lattice(weight.shape)
    pruned = gptq(weight, hessian, free, ordered, sparsity)
    for rows in _row_chunks(weight):
        target = weight[:, rows]
        sparse = pruned[:, rows]
        lattice = free.rows(rows)
        for _ in range(TURNS):
            sparse = least_squares(target, sparse, hessian)
            sparse = _exchange_zeros(
                target, sparse, hessian, lattice, sparsity=sparsity, sweeps=SWEEPS
            )
        pruned[:, rows] = least_squares(target, sparse, hessian)
    return pruned


def refine_sparse_codes(
    weight: Doubles, codes: Doubles, hessian: Doubles, lattice: Lattice, sparsity: Sparsity
) -> Doubles:
    """Codes of less error, and maybe other zeros.

    Args:
        weight: (groups, out, in), the target.
        codes: (groups, out, in), NaN for a zero.
        hessian: as in ``prune_rows``.
        lattice: the values that can be taken; where any can, the codes stay.
        sparsity: how many are zero.
    """
    if _is_unconstrained(lattice):
        return codes
    refined = np.empty(codes.shape)
    for rows in _row_chunks(weight):
        refined[:, rows] = _exchange_zeros(
            weight[:, rows],
            codes[:, rows],
            hessian,
            lattice.rows(rows),
            sparsity=sparsity,
            sweeps=FINAL_SWEEPS,
        )
    return refined


def unconstrained_lattice(sizes: tuple[int, ...]) -> Lattice:
    """A lattice on which rows (groups, out, in) take every value."""
    groups, outputs, inputs = sizes
    scale = np.zeros((groups, outputs, 1))
    tables = np.zeros((1, 0))
    table_of = np.zeros((groups, outputs), np.int64)
    return Lattice(scale, np.zeros_like(scale), inputs, 0, 0, tables, table_of)


def _is_unconstrained(lattice: Lattice) -> bool:
    return lattice.tables.shape[1] == 0 and not lattice.scale.any()


def _row_chunks(weight: Doubles) -> Iterator[slice]:
    starts = range(0, weight.shape[1], CHUNK_ROWS)
    return (slice(start, start + CHUNK_ROWS) for start in starts)


def least_squares(weight: Doubles, start: Doubles, hessian: Doubles) -> Doubles:
    """The nonzeros of least error, by conjugate gradients from others; a zero is NaN."""
    zeros = np.isnan(start)
    value = np.where(zeros, 0.0, start)
    diagonal = np.einsum("gii->gi", hessian)[:, None]
    gap = weight - value
    pull = gap @ hessian
    error = float(np.vdot(gap, pull))
    residual = np.where(zeros, 0.0, pull)
    scaled = residual / diagonal
    direction = scaled.copy()
    power = _row_products(residual, scaled)
    for _ in range(MAX_STEPS):
        across = np.where(zeros, 0.0, direction @ hessian)
        length = _ratio_or_zero(power, _row_products(direction, across))
        gain = float((length * power).sum())
        error -= gain
        value += length * direction
        if gain <= MIN_GAIN * error:
            break
        residual -= length * across
        scaled = residual / diagonal
        last_power = power
        power = _row_products(residual, scaled)
        direction = scaled + _ratio_or_zero(power, last_power) * direction
    return np.where(zeros, np.nan, value)


def _row_products(a: Doubles, b: Doubles) -> Doubles:
    return np.asarray(np.einsum("goi,goi->go", a, b)[:, :, None], np.float64)


def _ratio_or_zero(numerator: Doubles, denominator: Doubles) -> Doubles:
    zeros = np.zeros_like(numerator)
    return np.divide(numerator, denominator, out=zeros, where=denominator > 0)


def _exchange_zeros(
    weight: Doubles,
    codes: Doubles,
    hessian: Doubles,
    lattice: Lattice,
    *,
    sparsity: Sparsity,
    sweeps: int,
) -> Doubles:
    """Codes after so many sweeps of exchanges at most; NaN for a zero, before and after."""
    zeros = np.isnan(codes)
    codes = np.where(zeros, 0.0, codes)
    value = np.where(zeros, 0.0, lattice.values(codes))
    gap = weight - value
    pull = np.ascontiguousarray(gap @ hessian)
    error = _row_products(gap, pull)[:, :, 0]
    run = sparsity.run
    hessians = np.broadcast_to(hessian, (len(weight), *hessian.shape[1:]))
    grid = lattice.kernel_args()
    kernels = load_kernels("reconstruction.zero_masks_kernels")
    kernels.exchange(value, pull, hessians, zeros, run, error, *grid, codes, sweeps)
    return np.where(zeros, np.nan, codes)
