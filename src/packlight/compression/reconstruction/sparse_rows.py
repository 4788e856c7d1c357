"""Rows of weights of which most are zero: which stay, and what they become.

Second-order pruning drops lane after lane of columns what costs least and lets the columns after it
make up for that. The zeros that it finds are then exchanged, one for another, while the error
falls, and in turns with that the weights that stay take their least-squares values.
Source: Hassibi and Stork, "Optimal Brain Surgeon" (NIPS 1992); Frantar and Alistarh, "SparseGPT"
(ICML 2023); Meng et al., "ALPS" (NeurIPS 2024) for the conjugate gradients; Hazimeh and Mazumder,
"Fast Best Subset Selection" (2020) for the exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from packlight.compression.reconstruction.gptq import ROWS, Lattice, round_rows
from packlight.compression.reconstruction.zero_masks import Sparsity

Doubles = NDArray[np.float64]

TURNS = 2
"""Times that least squares and exchanges follow each other."""

SWEEPS, FINAL_SWEEPS = 3, 20
"""Exchanges of every weight, at most, in one turn; and of weights that take few values."""

STEPS = 40
"""Of conjugate gradients, at most."""

ENOUGH = 1e-3
"""Share of the error below which what another step gains is not worth its time."""


def prune_rows(weight: Doubles, moments: Doubles, ordered: bool, sparsity: Sparsity) -> Doubles:
    """The best sparse rows that are found.

    Args:
        weight: (groups, out, in).
        moments: (groups, in, in), or (1, in, in) where all groups read the same; positive definite.
        ordered: whether columns of large inputs are looked at first.
        sparsity: how many become zero.

    Returns:
        (groups, out, in); NaN where a weight became zero.
    """
    free = anything(weight.shape)
    pruned = round_rows(weight, moments, free, ordered, sparsity)
    for rows in chunks(weight):
        goal, found = weight[:, rows], pruned[:, rows]
        for _ in range(TURNS):
            found = least_squares(goal, found, moments)
            found = exchanged(
                goal, found, moments, free.rows(rows), sparsity=sparsity, sweeps=SWEEPS
            )
        pruned[:, rows] = least_squares(goal, found, moments)
    return pruned


def round_kept(
    weight: Doubles, codes: Doubles, moments: Doubles, lattice: Lattice, sparsity: Sparsity
) -> Doubles:
    """Better codes than those given, and maybe others in their place that are NaN.

    Args:
        weight: (groups, out, in), what is approached.
        codes: (groups, out, in), NaN for a zero.
        moments: as in ``prune_rows``.
        lattice: the values that can be taken; where any can, nothing is left to do.
        sparsity: how many are zero.
    """
    if is_free(lattice):
        return codes
    better = np.empty(codes.shape)
    for rows in chunks(weight):
        few = lattice.rows(rows)
        goal, start = weight[:, rows], codes[:, rows]
        better[:, rows] = exchanged(
            goal, start, moments, few, sparsity=sparsity, sweeps=FINAL_SWEEPS
        )
    return better


def anything(sizes: tuple[int, ...]) -> Lattice:
    """What lets rows (groups, out, in) take every value."""
    groups, outputs, inputs = sizes
    scale, tables = np.zeros((groups, outputs, 1)), np.zeros((1, 0))
    table_of = np.zeros((groups, outputs), np.int64)
    return Lattice(scale, np.zeros_like(scale), inputs, 0, 0, tables, table_of)


def is_free(lattice: Lattice) -> bool:
    """Whether every value can be taken."""
    return lattice.tables.shape[1] == 0 and not lattice.scale.any()


def chunks(weight: Doubles) -> Iterator[slice]:
    """Some rows of every group at a time, so that memory does not grow with their number."""
    return (slice(start, start + ROWS) for start in range(0, weight.shape[1], ROWS))


def least_squares(weight: Doubles, found: Doubles, moments: Doubles) -> Doubles:
    """The values of least error for what is not NaN, from those given, by conjugate gradients."""
    zeros = np.isnan(found)
    value = np.where(zeros, 0.0, found)
    diagonal = np.einsum("gii->gi", moments)[:, None]
    gap = weight - value
    pull = gap @ moments
    error, residual = float(np.vdot(gap, pull)), np.where(zeros, 0.0, pull)
    scaled = residual / diagonal
    ahead, power = scaled.copy(), inner(residual, scaled)
    for _ in range(STEPS):
        across = np.where(zeros, 0.0, ahead @ moments)
        length = ratio(power, inner(ahead, across))
        gained = float((length * power).sum())
        error -= gained
        value += length * ahead
        if gained <= ENOUGH * error:
            break
        residual -= length * across
        scaled = residual / diagonal
        before, power = power, inner(residual, scaled)
        ahead = scaled + ratio(power, before) * ahead
    return np.where(zeros, np.nan, value)


def inner(one: Doubles, other: Doubles) -> Doubles:
    """Of each row, (groups, out, 1)."""
    return np.asarray(np.einsum("goi,goi->go", one, other)[:, :, None], np.float64)


def ratio(above: Doubles, below: Doubles) -> Doubles:
    """0 where nothing is left to gain."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def exchanged(
    weight: Doubles,
    codes: Doubles,
    moments: Doubles,
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
    pull = np.ascontiguousarray(gap @ moments)
    error, run = inner(gap, pull)[:, :, 0], sparsity.run
    each = np.broadcast_to(moments, (len(weight), *moments.shape[1:]))
    kernels = import_module("packlight.compression.reconstruction.zero_masks_kernels")
    kernels.exchange(value, pull, each, zeros, run, error, *lattice.parts(), codes, sweeps)
    return np.where(zeros, np.nan, codes)
