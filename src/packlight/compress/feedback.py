"""Rounding by error feedback: what one weight loses is made up for by the others of its row.

A layer gave W x on the original's inputs x; rounded to Q it gives Q y on the inputs y that the
compressed layers before it really produce. With the second moments of y and the cross moments of x
and y, the best unrounded weight for y is W* = W E[x y'] E[y y']^-1, and the mean squared error of
any Q is (Q - W*) E[y y'] (Q - W*)' and a constant. GPTQ rounds column by column, carrying errors on
through the Cholesky factor of the inverse moments; coordinate descent then changes one code after
another while that helps. Where a bias can take up the means, moments are taken about them.
Source: Frantar et al., "GPTQ" (ICLR 2023); Behdin et al., "QuantEase" (2023); Arai and Ichikawa,
"Quantization Error Propagation" (2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from packlight.compress import feedback_kernels as kernels
from packlight.compress.moments import Moments, Sums

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Target:
    """What rounding is to approach.

    Attributes:
        weight: (groups, out, in), best unrounded.
        moments: (groups, in, in), damped, positive definite.
        mean: (groups, in) of the inputs now.
        original_mean: (groups, in) of the inputs of the original.
        ridge: that was chosen for ``weight``; infinite where it is the original's.
    """

    weight: Doubles
    moments: Doubles
    mean: Doubles
    original_mean: Doubles
    ridge: float


@dataclass(frozen=True, slots=True)
class Grid:
    """The values a row can take.

    Attributes:
        scale: (groups, out, blocks), > 0.
        zero: (groups, out, blocks), the code of 0.0.
        block: columns that share a scale.
        low: lowest code.
        high: highest code.
        tables: (tables, entries) sorted, times ``scale``; no entries for a uniform grid.
        table_of: (groups, out), which table a row uses.
    """

    scale: Doubles
    zero: Doubles
    block: int
    low: int
    high: int
    tables: Doubles
    table_of: Integers

    def parts(self) -> tuple[Doubles, Doubles, int, int, int, Doubles, Integers]:
        """As the kernels take them."""
        shared = (self.block, self.low, self.high, self.tables, self.table_of)
        return (self.scale, self.zero, *shared)

    def values(self, codes: Doubles) -> Doubles:
        """What codes (groups, out, in) stand for."""
        columns = np.arange(codes.shape[2]) // self.block
        scale, zero = self.scale[:, :, columns], self.zero[:, :, columns]
        if self.tables.shape[1] == 0:
            return (codes - zero) * scale
        found = self.tables[self.table_of[:, :, None], codes.astype(np.int64)]
        return np.asarray(found * scale, np.float64)


RIDGES = (0.03, 0.3, 3.0)
"""Shares of the mean squared input that hold the best weight near the original's."""

LANES = 64
"""Columns rounded before what they lost is carried to all after them at once."""


def target(weight: Doubles, seen: Moments, damping: float, centred: bool) -> Target:
    """The best unrounded weight for the inputs that the compressed prefix gives.

    How far it may leave the original's is decided by what it would have done on the half of the
    calls that it was not made of.

    Args:
        weight: (groups, out, in) of the original.
        seen: moments of its inputs; at least one call.
        damping: share of the mean squared input added to every input's when rounding.
        centred: whether a bias takes up the means.
    """
    halves = [about(part, centred) for part in seen.halves() if part.count]
    whole = about(seen.whole(), centred)
    ridge = best_ridge(weight, halves) if len(halves) > 1 else np.inf
    width = whole.own.shape[-1]
    damped = whole.own + damping * power(whole.own) * np.eye(width)
    moments = np.ascontiguousarray(np.broadcast_to(damped, (len(weight), width, width)))
    best = np.ascontiguousarray(approached(weight, whole, ridge))
    return Target(best, moments, whole.mean, whole.original_mean, ridge)


def power(own: Doubles) -> Doubles:
    """Mean square of the inputs of each group (groups, 1, 1), above zero."""
    mean = np.trace(own, axis1=1, axis2=2) / own.shape[-1]
    return np.maximum(mean, 1e-12)[:, None, None]


def about(sums: Sums, centred: bool) -> Sums:
    """Sums as means, about the mean inputs where a bias takes these up."""
    own, cross = sums.own / sums.count, sums.cross / sums.count
    mean, original = sums.mean / sums.count, sums.original_mean / sums.count
    if centred:
        own = own - mean[:, :, None] * mean[:, None, :]
        cross = cross - original[:, :, None] * mean[:, None, :]
    return Sums(own, cross, mean, original, sums.count)


def approached(weight: Doubles, seen: Sums, ridge: float) -> Doubles:
    """The weight for the inputs now that comes nearest to what the original gives."""
    if not np.isfinite(ridge):
        return weight
    held = seen.own + ridge * power(seen.own) * np.eye(seen.own.shape[-1])
    change = weight @ (seen.cross - seen.own)
    solved = np.linalg.solve(held, np.swapaxes(change, 1, 2))
    return np.asarray(weight + np.swapaxes(solved, 1, 2), np.float64)


def best_ridge(weight: Doubles, halves: list[Sums]) -> float:
    """The ridge whose weight, made of one half, does best on the other; infinite keeps it."""
    losses = dict.fromkeys((np.inf, *RIDGES), 0.0)
    for made, judged in (halves, halves[::-1]):
        for ridge in losses:
            losses[ridge] += loss(weight, approached(weight, made, ridge), judged)
    return float(min(losses, key=lambda ridge: losses[ridge]))


def loss(weight: Doubles, other: Doubles, seen: Sums) -> float:
    """Squared error of another weight on the inputs now, up to a constant."""
    own = np.sum((other @ seen.own) * other)
    return float(own - 2 * np.sum((weight @ seen.cross) * other))


def round_all(goal: Target, grid: Grid, sweeps: int) -> Doubles:
    """Codes (groups, out, in) by error feedback and coordinate descent."""
    order = np.argsort(-np.diagonal(goal.moments, axis1=1, axis2=2), axis=1, kind="stable")
    order = np.ascontiguousarray(order)
    pairs = [np.ix_(chosen, chosen) for chosen in order]
    upper = np.stack(
        [inverse_factor(part[pair]) for part, pair in zip(goal.moments, pairs, strict=True)]
    )
    left = np.take_along_axis(goal.weight, order[:, None, :], axis=2)
    codes = np.zeros(goal.weight.shape)
    for start in range(0, left.shape[2], LANES):
        end = min(start + LANES, left.shape[2])
        lane = np.ascontiguousarray(left[:, :, start:end])
        factor = np.ascontiguousarray(upper[:, start:end, start:end])
        lost = kernels.feed_back(lane, factor, order, start, *grid.parts(), codes)
        left[:, :, end:] -= lost @ upper[:, start:end, end:]
    return improved(goal, grid, codes, sweeps)


def improved(goal: Target, grid: Grid, codes: Doubles, sweeps: int) -> Doubles:
    """The codes after coordinate descent."""
    value = np.ascontiguousarray(grid.values(codes))
    pull = np.ascontiguousarray((goal.weight - value) @ goal.moments)
    kernels.descend(value, pull, goal.moments, *grid.parts(), codes, sweeps)
    return codes


def inverse_factor(moments: Doubles) -> Doubles:
    """Upper triangular U with U'U = moments^-1."""
    lower, _ = lapack.dpotrf(moments, lower=1, clean=1)
    inverse, _ = lapack.dpotri(lower, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    factor, info = lapack.dpotrf(inverse, lower=0, clean=1)
    if info:
        raise np.linalg.LinAlgError("damped moments are positive definite")
    return np.ascontiguousarray(factor)


def bias_shift(weight: Doubles, goal: Target, rounded: Doubles) -> Doubles:
    """What the bias takes up (groups, out): W E[x] - Q E[y]."""
    before = weight @ goal.original_mean[:, :, None]
    after = rounded @ goal.mean[:, :, None]
    return np.asarray((before - after)[:, :, 0], np.float64)
