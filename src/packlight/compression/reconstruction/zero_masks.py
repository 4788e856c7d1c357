"""Which weights become zero: the cheapest of all, or of every few inputs of an output.

What a weight costs is given; a choice always takes exactly the share that was asked for.
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
            a last shorter run keeps as many as others, or all it has.
    """

    share: float = 0.0
    run: int = 0

    @property
    def kept_in_run(self) -> int:
        """Weights of every run that stay."""
        return self.run - round(self.share * self.run)

    def lane(self, columns: int) -> int:
        """About so many columns, which do not cut a run."""
        return max(1, columns // self.run) * self.run if self.run else columns

    def count(self, sizes: tuple[int, int, int]) -> int:
        """Zeros in matrices (groups, out, in) of these sizes."""
        groups, outputs, inputs = sizes
        if not self.run:
            return round(self.share * groups * outputs * inputs)
        whole, rest = divmod(inputs, self.run)
        each = whole * (self.run - self.kept_in_run) + max(0, rest - self.kept_in_run)
        return groups * outputs * each

    def cheapest(self, cost: Array) -> Mask:
        """The zeros among matrices (groups, out, in): those that cost least."""
        if self.run:
            return self.cheapest_in_runs(cost)
        return cheapest(cost, self.count(cost.shape))

    def cheapest_in_runs(self, cost: Array) -> Mask:
        """The zeros of every run of rows (..., columns) that start with a run."""
        columns = cost.shape[-1]
        gap = -columns % self.run
        whole = np.pad(cost, [(0, 0)] * (cost.ndim - 1) + [(0, gap)], constant_values=-np.inf)
        runs = whole.reshape(*cost.shape[:-1], -1, self.run)
        order = np.argsort(runs, axis=-1, kind="stable")
        zeros = np.zeros(runs.shape, np.bool_)
        first = order[..., : self.run - self.kept_in_run]
        np.put_along_axis(zeros, first, np.True_, axis=-1)
        return zeros.reshape(whole.shape)[..., :columns]


DENSE = Sparsity()


def cheapest(cost: Array, count: int) -> Mask:
    """Exactly so many of the least, the first ones among equals."""
    flat = cost.ravel()
    if not 0 < count < flat.size:
        return np.full(cost.shape, count > 0)
    most = np.partition(flat, count - 1)[count - 1]
    zeros = flat < most
    ties = np.flatnonzero(flat == most)
    zeros[ties[: count - np.count_nonzero(zeros)]] = True
    return np.asarray(zeros.reshape(cost.shape), np.bool_)
