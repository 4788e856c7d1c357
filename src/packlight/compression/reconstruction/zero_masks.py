"""Masks of the weights that become zero: the cheapest of all, or of every run of inputs.

The cost of a weight is an argument; a mask always has exactly the share of zeros asked for.
Source: Mishra et al., "Accelerating Sparse Deep Neural Networks" (2021), for zeros in runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sparsity:
    """How many weights become zero.

    Attributes:
        share: of all weights, in [0, 1).
        run: where above 0, the share holds in every run of so many consecutive columns of a row;
            a last shorter run keeps as many as the rest, or all it has.
    """

    share: float = 0.0
    run: int = 0

    @property
    def nonzeros_per_run(self) -> int:
        """Weights of every run that do not become zero."""
        return self.run - round(self.share * self.run)

    def block_columns(self, columns: int) -> int:
        """About so many columns, which do not cut a run."""
        if not self.run:
            return columns
        return max(1, columns // self.run) * self.run

    def count(self, sizes: tuple[int, int, int]) -> int:
        """Zeros in matrices (groups, out, in) of these sizes."""
        groups, outputs, inputs = sizes
        if not self.run:
            return round(self.share * groups * outputs * inputs)
        runs, tail = divmod(inputs, self.run)
        nonzeros = self.nonzeros_per_run
        zeros_per_row = runs * (self.run - nonzeros) + max(0, tail - nonzeros)
        return groups * outputs * zeros_per_row

    def of_columns(self, sizes: tuple[int, int, int], columns: slice) -> Sparsity:
        """The part of the zeros of matrices (groups, out, in) that lies in some columns."""
        if self == DENSE or self.run:
            return self
        groups, outputs, _ = sizes
        before = round(self.share * groups * outputs * columns.start)
        zeros = round(self.share * groups * outputs * columns.stop) - before
        return Sparsity(zeros / (groups * outputs * (columns.stop - columns.start)))

    def cheapest(self, cost: Array) -> Mask:
        """Mask of the zeros among matrices (groups, out, in): those of least cost."""
        if self.run:
            return self.cheapest_in_runs(cost)
        return cheapest_mask(cost, self.count(cost.shape))

    def cheapest_in_runs(self, cost: Array) -> Mask:
        """Mask of the zeros in every run of rows (..., columns) that start with a run."""
        columns = cost.shape[-1]
        gap = -columns % self.run
        padding = [(0, 0)] * (cost.ndim - 1) + [(0, gap)]
        padded = np.pad(cost, padding, constant_values=-np.inf)
        runs = padded.reshape(*cost.shape[:-1], -1, self.run)
        order = np.argsort(runs, axis=-1, kind="stable")
        zeros = np.zeros(runs.shape, np.bool_)
        first = order[..., : self.run - self.nonzeros_per_run]
        np.put_along_axis(zeros, first, np.True_, axis=-1)
        return zeros.reshape(padded.shape)[..., :columns]


DENSE = Sparsity()


def cheapest_mask(cost: Array, count: int) -> Mask:
    """Mask of exactly so many of the least, the first ones among equals."""
    flat = cost.ravel()
    if not 0 < count < flat.size:
        return np.full(cost.shape, count > 0)
    most = np.partition(flat, count - 1)[count - 1]
    zeros = flat < most
    ties = np.flatnonzero(flat == most)
    zeros[ties[: count - np.count_nonzero(zeros)]] = True
    return np.asarray(zeros.reshape(cost.shape), np.bool_)
