"""Rounding by error feedback: what one weight loses is made up for by the others of its row.

With second moments H of the inputs, the mean squared error that a row of weights w costs when it
is rounded to q is (q - w) H (q - w)'. GPTQ rounds column by column and carries each error on to the
columns not yet rounded, through the Cholesky factor of the inverse of H. Coordinate descent then
changes one code after another while that helps. Where weights are to become zero, the same errors
choose which: those that cost least given what the others can make up for.
Source: Frantar et al., "GPTQ" (ICLR 2023); Frantar and Alistarh, "SparseGPT" (ICML 2023); Behdin et
al., "QuantEase" (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from packlight.compression.reconstruction.zero_masks import DENSE, Mask, Sparsity, cheapest

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

LANES = 64
"""Columns rounded before what they lost is carried to all after them at once."""

SWEEPS = 20
"""Times that coordinate descent passes over all columns, at most."""

ROWS = 2048
"""Rows rounded at a time, so that memory does not grow with the outputs."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The values that the rows of matrices (groups, out, in) can take.

    Attributes:
        scale: (groups, out, blocks), at least 0; where it is 0 every value can be taken.
        zero: (groups, out, blocks), the code of 0.0.
        block: columns that share a scale.
        low: lowest code.
        high: highest code.
        tables: (tables, entries), increasing, times ``scale``; no entries for a uniform grid.
        table_of: (groups, out), which table a row uses.
    """

    scale: Doubles
    zero: Doubles
    block: int
    low: int
    high: int
    tables: Doubles
    table_of: Integers

    def rows(self, rows: slice) -> Lattice:
        """Of some rows of every group."""
        scale, zero = (np.ascontiguousarray(part[:, rows]) for part in (self.scale, self.zero))
        table_of = np.ascontiguousarray(self.table_of[:, rows])
        return Lattice(scale, zero, self.block, self.low, self.high, self.tables, table_of)

    def merged(self) -> Lattice:
        """Of all rows as those of one group."""
        blocks = self.scale.shape[2]
        scale, zero = self.scale.reshape(1, -1, blocks), self.zero.reshape(1, -1, blocks)
        table_of = self.table_of.reshape(1, -1)
        return Lattice(scale, zero, self.block, self.low, self.high, self.tables, table_of)

    def part(self, groups: Integers, rows: Integers) -> Lattice:
        """Of some rows of some groups."""
        chosen = np.ix_(groups, rows)
        scale, zero = self.scale[chosen], self.zero[chosen]
        table_of = np.ascontiguousarray(self.table_of[chosen])
        return Lattice(scale, zero, self.block, self.low, self.high, self.tables, table_of)

    def parts(self) -> tuple[Doubles, Doubles, int, int, int, Doubles, Integers]:
        """As the kernels take them."""
        shared = (self.block, self.low, self.high, self.tables, self.table_of)
        return (self.scale, self.zero, *shared)

    def values(self, codes: Doubles) -> Doubles:
        """What codes (groups, out, in) stand for."""
        columns = np.arange(codes.shape[2]) // self.block
        scale, zero = self.scale[:, :, columns], self.zero[:, :, columns]
        if self.tables.shape[1] == 0:
            return np.where(scale == 0, codes, (codes - zero) * scale)
        found = self.tables[self.table_of[:, :, None], codes.astype(np.int64)]
        return np.asarray(found * scale, np.float64)


def round_rows(
    weight: Doubles, moments: Doubles, lattice: Lattice, ordered: bool, sparsity: Sparsity = DENSE
) -> Doubles:
    """Codes of a weight by error feedback, and coordinate descent where none become zero.

    Args:
        weight: (groups, out, in).
        moments: (groups, in, in), or (1, in, in) where all groups read the same; positive definite.
        lattice: the values that can be taken.
        ordered: columns of large inputs first, else as they come.
        sparsity: how many become zero.

    Returns:
        Codes (groups, out, in); NaN where a weight became zero by ``sparsity``.
    """
    if len(moments) == 1 < len(weight):
        merged = weight.reshape(1, -1, weight.shape[2])
        return round_rows(merged, moments, lattice.merged(), ordered, sparsity).reshape(
            weight.shape
        )
    columns = Columns.of(moments, ordered and not sparsity.run)
    plan = columns.planned(weight, sparsity)
    codes = np.empty(weight.shape)
    for start in range(0, weight.shape[1], ROWS):
        rows = slice(start, start + ROWS)
        few, zeros = lattice.rows(rows), plan[:, rows]
        codes[:, rows] = columns.rounded(weight[:, rows], few, sparsity, zeros)
    return codes


@dataclass(frozen=True, slots=True)
class Columns:
    """The inputs of some rows: how they depend on each other, and which is rounded when.

    Attributes:
        moments: (groups, in, in).
        order: (groups, in).
        upper: (groups, in, in), U with U'U the inverse of the ordered moments.
    """

    moments: Doubles
    order: Integers
    upper: Doubles

    @classmethod
    def of(cls, moments: Doubles, ordered: bool) -> Columns:
        """Of moments (groups, in, in)."""
        diagonal = np.einsum("gii->gi", moments)
        order = np.argsort(-diagonal if ordered else np.zeros_like(diagonal), kind="stable")
        upper = inverse_factor(arranged(moments, order))
        return cls(np.ascontiguousarray(moments), order, upper)

    def planned(self, weight: Doubles, sparsity: Sparsity) -> Mask:
        """About which weights (groups, out, in) become zero; a lane drops as many as it has here.

        They are those that would cost least, were each the only one and made up for by its row.
        """
        if sparsity == DENSE:
            return np.broadcast_to(np.False_, weight.shape)
        spread = np.empty(self.order.shape)
        np.put_along_axis(spread, self.order, np.square(self.upper).sum(axis=1), axis=1)
        return sparsity.cheapest(weight**2 / spread[:, None])

    def rounded(self, weight: Doubles, lattice: Lattice, sparsity: Sparsity, plan: Mask) -> Doubles:
        """Codes of some rows (groups, rows, in), NaN where they became zero."""
        order, upper = self.order[:, None, :], self.upper
        left = np.take_along_axis(weight, order, axis=2)
        plan = np.take_along_axis(plan, order, axis=2)
        codes, zeros = np.zeros(weight.shape), np.zeros(weight.shape, np.bool_)
        lanes = sparsity.lane(LANES)
        for start in range(0, left.shape[2], lanes):
            end = min(start + lanes, left.shape[2])
            lane = np.ascontiguousarray(left[:, :, start:end])
            factor = np.ascontiguousarray(upper[:, start:end, start:end])
            drop = dropped(lane, np.einsum("gii->gi", factor), sparsity, plan[:, :, start:end])
            parts = lattice.parts()
            lost = compiled().feed_back(lane, factor, self.order, start, drop, *parts, codes)
            np.put_along_axis(zeros, order[:, :, start:end], drop, axis=2)
            left[:, :, end:] -= lost @ upper[:, start:end, end:]
        if sparsity == DENSE:
            self.improve(weight, lattice, codes)
        return np.where(zeros, np.nan, codes)

    def improve(self, weight: Doubles, lattice: Lattice, codes: Doubles) -> None:
        """Coordinate descent on the codes, in place."""
        value = lattice.values(codes)
        pull = np.ascontiguousarray((weight - value) @ self.moments)
        compiled().descend(value, pull, self.moments, *lattice.parts(), codes, SWEEPS)


def dropped(lane: Doubles, diagonal: Doubles, sparsity: Sparsity, plan: Mask) -> Mask:
    """Which weights become zero: those whose loss costs least.

    Args:
        lane: (groups, rows, columns).
        diagonal: (groups, columns) of the factor of the inverse moments.
        sparsity: how many become zero.
        plan: of the lane's shape; as many become zero where the lane is not cut into runs.
    """
    if sparsity == DENSE:
        return np.zeros(lane.shape, np.bool_)
    cost = (lane / diagonal[:, None]) ** 2
    if sparsity.run:
        return sparsity.cheapest_in_runs(cost)
    return cheapest(cost, int(np.count_nonzero(plan)))


def arranged(moments: Doubles, order: Integers) -> Doubles:
    """Moments (groups, in, in) with both axes in an order (groups, in)."""
    across = np.take_along_axis(moments, order[:, :, None], axis=1)
    return np.take_along_axis(across, order[:, None, :], axis=2)


def inverse_factor(moments: Doubles) -> Doubles:
    """Upper triangular U (groups, in, in) with U'U the inverse of the moments."""
    from scipy.linalg import lapack  # noqa: PLC0415  scipy takes long to load

    if len(moments) > 1:
        return np.ascontiguousarray(np.swapaxes(np.linalg.cholesky(np.linalg.inv(moments)), 1, 2))
    lower, _ = lapack.dpotrf(moments[0], lower=1, clean=1)
    del moments  # each of these takes as much memory as all that a weight's samples left
    inverse, _ = lapack.dpotri(lower, lower=1, overwrite_c=1)
    factor, info = lapack.dpotrf(inverse.T, lower=0, clean=1)
    del lower, inverse
    assert info == 0, "damped moments are positive definite"
    return np.ascontiguousarray(factor[None])


def compiled() -> ModuleType:
    """The compiled kernels; numba is loaded only when they are used."""
    return import_module("packlight.compression.reconstruction.gptq_kernels")
