"""GPTQ: the error of one weight is compensated by the others of its row.

With the Hessian H, the second moments of the inputs, the mean squared error of a row of weights w
that is rounded to q is (q - w) H (q - w)'. GPTQ rounds column by column and carries each error on
to the columns not yet rounded, through the Cholesky factor of the inverse of H. Coordinate descent
then changes one code after another while that helps. Where weights are to become zero, the same
errors choose which: those of least error after the rest of the row compensates.
Source: Frantar et al., "GPTQ" (ICLR 2023); Frantar and Alistarh, "SparseGPT" (ICML 2023); Behdin et
al., "QuantEase" (2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from packlight.compression.reconstruction.hessian import BlockHessian
from packlight.compression.reconstruction.zero_masks import DENSE, Mask, Sparsity, cheapest_mask
from packlight.compression.threads import load_kernels

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK_COLUMNS = 64
"""Columns rounded before their errors are carried to all after them at once."""

MAX_SWEEPS = 20
"""Times that coordinate descent passes over all columns, at most."""

CHUNK_ROWS = 2048
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
        return self.with_rows(
            np.ascontiguousarray(self.scale[:, rows]),
            np.ascontiguousarray(self.zero[:, rows]),
            np.ascontiguousarray(self.table_of[:, rows]),
        )

    def merged(self) -> Lattice:
        """Of all rows as those of one group."""
        shape = (1, -1, self.scale.shape[2])
        return self.with_rows(
            self.scale.reshape(shape), self.zero.reshape(shape), self.table_of.reshape(1, -1)
        )

    def subset(self, groups: Integers, rows: Integers) -> Lattice:
        """Of some rows of some groups."""
        index = np.ix_(groups, rows)
        table_of = np.ascontiguousarray(self.table_of[index])
        return self.with_rows(self.scale[index], self.zero[index], table_of)

    def columns(self, columns: slice) -> Lattice:
        """Of some columns of every row."""
        if self.scale.shape[2] == 1:
            return self
        index = np.arange(columns.start, columns.stop) // self.block
        scale = np.ascontiguousarray(self.scale[:, :, index])
        zero = np.ascontiguousarray(self.zero[:, :, index])
        return replace(self, scale=scale, zero=zero, block=1)

    def with_rows(self, scale: Doubles, zero: Doubles, table_of: Integers) -> Lattice:
        """Of other rows with the codes and tables of these."""
        return Lattice(scale, zero, self.block, self.low, self.high, self.tables, table_of)

    def kernel_args(self) -> tuple[Doubles, Doubles, int, int, int, Doubles, Integers]:
        """Arguments of the kernels."""
        shared = (self.block, self.low, self.high, self.tables, self.table_of)
        return (self.scale, self.zero, *shared)

    def values(self, codes: Doubles) -> Doubles:
        """Real values of codes (groups, out, in)."""
        columns = np.arange(codes.shape[2]) // self.block
        scale = self.scale[:, :, columns]
        zero = self.zero[:, :, columns]
        if self.tables.shape[1] == 0:
            return np.where(scale == 0, codes, (codes - zero) * scale)
        entries = self.tables[self.table_of[:, :, None], codes.astype(np.int64)]
        return np.asarray(entries * scale, np.float64)


def gptq(
    weight: Doubles, hessian: Doubles, lattice: Lattice, ordered: bool, sparsity: Sparsity = DENSE
) -> Doubles:
    """Codes of a weight by GPTQ, and coordinate descent where none become zero.

    Args:
        weight: (groups, out, in).
        hessian: (groups, in, in), or (1, in, in) where all groups read the same; positive definite.
        lattice: the values that can be taken.
        ordered: columns of large inputs first, else as they come.
        sparsity: how many become zero.

    Returns:
        Codes (groups, out, in); NaN where a weight became zero by ``sparsity``.
    """
    if len(hessian) == 1 < len(weight):
        merged = weight.reshape(1, -1, weight.shape[2])
        codes = gptq(merged, hessian, lattice.merged(), ordered, sparsity)
        return codes.reshape(weight.shape)
    factor = HessianFactor.of(hessian, ordered and not sparsity.run)
    plan = factor.zero_plan(weight, sparsity)
    codes = np.empty(weight.shape)
    for start in range(0, weight.shape[1], CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        codes[:, rows] = factor.rounded(
            weight[:, rows], lattice.rows(rows), sparsity, plan[:, rows]
        )
    return codes


def gptq_blocks(
    weight: Doubles, hessian: BlockHessian, lattice: Lattice, *, ordered: bool
) -> Doubles:
    """As ``gptq``, for each block of inputs alone."""
    parts = [
        gptq(weight[:, :, columns], block, lattice.columns(columns), ordered)
        for columns, block in hessian.parts()
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


@dataclass(frozen=True, slots=True)
class HessianFactor:
    """A Hessian with the order of its columns and the factor of its inverse.

    Attributes:
        hessian: (groups, in, in).
        order: (groups, in).
        upper: (groups, in, in), U with U'U the inverse of the ordered Hessian.
    """

    hessian: Doubles
    order: Integers
    upper: Doubles

    @classmethod
    def of(cls, hessian: Doubles, ordered: bool) -> HessianFactor:
        """Of a Hessian (groups, in, in)."""
        diagonal = np.einsum("gii->gi", hessian)
        order = np.argsort(-diagonal if ordered else np.zeros_like(diagonal), kind="stable")
        upper = inverse_factor(_permuted(hessian, order))
        return cls(np.ascontiguousarray(hessian), order, upper)

    def zero_plan(self, weight: Doubles, sparsity: Sparsity) -> Mask:
        """Weights (groups, out, in) that become zero, about; a block drops as many as it has here.

        They are those of least error, were each the only one and compensated by its row.
        """
        if sparsity == DENSE:
            return np.broadcast_to(np.False_, weight.shape)
        spread = np.empty(self.order.shape)
        np.put_along_axis(spread, self.order, np.square(self.upper).sum(axis=1), axis=1)
        return sparsity.cheapest(weight**2 / spread[:, None])

    def rounded(self, weight: Doubles, lattice: Lattice, sparsity: Sparsity, plan: Mask) -> Doubles:
        """Codes of some rows (groups, rows, in), NaN where they became zero."""
        order = self.order[:, None, :]
        upper = self.upper
        target = np.take_along_axis(weight, order, axis=2)
        plan = np.take_along_axis(plan, order, axis=2)
        codes = np.zeros(weight.shape)
        zeros = np.zeros(weight.shape, np.bool_)
        columns = sparsity.block_columns(BLOCK_COLUMNS)
        grid = lattice.kernel_args()
        for start in range(0, target.shape[2], columns):
            end = min(start + columns, target.shape[2])
            block = np.ascontiguousarray(target[:, :, start:end])
            factor = np.ascontiguousarray(upper[:, start:end, start:end])
            diagonal = np.einsum("gii->gi", factor)
            drop = _zero_mask(block, diagonal, sparsity, plan[:, :, start:end])
            error = _compiled().gptq_block(block, factor, self.order, start, drop, *grid, codes)
            np.put_along_axis(zeros, order[:, :, start:end], drop, axis=2)
            target[:, :, end:] -= error @ upper[:, start:end, end:]
        if sparsity == DENSE:
            self.descend(weight, lattice, codes)
        return np.where(zeros, np.nan, codes)

    def descend(self, weight: Doubles, lattice: Lattice, codes: Doubles) -> None:
        """Coordinate descent on the codes, in place."""
        value = lattice.values(codes)
        pull = np.ascontiguousarray((weight - value) @ self.hessian)
        _compiled().coordinate_descent(
            value, pull, self.hessian, *lattice.kernel_args(), codes, MAX_SWEEPS
        )


def _zero_mask(block: Doubles, diagonal: Doubles, sparsity: Sparsity, plan: Mask) -> Mask:
    """Mask of the weights of least error, which become zero.

    Args:
        block: (groups, rows, columns).
        diagonal: (groups, columns) of the factor of the inverse Hessian.
        sparsity: how many become zero.
        plan: of the block's shape; as many become zero where the block is not cut into runs.
    """
    if sparsity == DENSE:
        return np.zeros(block.shape, np.bool_)
    cost = (block / diagonal[:, None]) ** 2
    if sparsity.run:
        return sparsity.cheapest_in_runs(cost)
    return cheapest_mask(cost, int(np.count_nonzero(plan)))


def _permuted(hessian: Doubles, order: Integers) -> Doubles:
    across = np.take_along_axis(hessian, order[:, :, None], axis=1)
    return np.take_along_axis(across, order[:, None, :], axis=2)


def inverse_factor(hessian: Doubles) -> Doubles:
    """Upper triangular U (groups, in, in) with U'U the inverse of the Hessian."""
    from scipy.linalg import lapack  # noqa: PLC0415  scipy takes long to load

    if len(hessian) > 1:
        return np.ascontiguousarray(np.swapaxes(np.linalg.cholesky(np.linalg.inv(hessian)), 1, 2))
    lower, _ = lapack.dpotrf(hessian[0], lower=1, clean=1)
    del hessian  # each of these takes as much memory as the sums of a weight
    inverse, _ = lapack.dpotri(lower, lower=1, overwrite_c=1)
    factor, info = lapack.dpotrf(inverse.T, lower=0, clean=1)
    del lower, inverse
    assert info == 0, "shrunk Hessians are positive definite"
    return np.ascontiguousarray(factor[None])


def _compiled() -> ModuleType:
    return load_kernels("reconstruction.gptq_kernels")
