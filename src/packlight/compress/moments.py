"""Second moments of what weights multiply, as the original and the compressed prefix give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packlight.compress.matrix import inputs_of
from packlight.compress.roles import Role

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]

PLACES = 256
"""Inputs taken of one call: neighbours in a feature map tell little that is new."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over inputs y of the compressed prefix and x of the original, side by side.

    Attributes:
        own: of y y' (groups, in, in).
        cross: of x y' (groups, in, in).
        mean: of y (groups, in).
        original_mean: of x (groups, in).
        count: of pairs.
    """

    own: Doubles
    cross: Doubles
    mean: Doubles
    original_mean: Doubles
    count: int

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.own + other.own,
            self.cross + other.cross,
            self.mean + other.mean,
            self.original_mean + other.original_mean,
            self.count + other.count,
        )


class Moments:
    """Second moments of the inputs of one weight, in two halves of the calls.

    Memory is that of eight (groups, in, in) arrays at most, whatever the number of samples.

    Args:
        role: whose inputs these are.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.calls = 0
        self.parts: list[Sums] = []

    def update(self, value: Array, original: Array) -> None:
        """Take in what one call fed, in both models; skipped where they do not correspond."""
        y = inputs_of(self.role, np.asarray(value, np.float32), PLACES)
        x = inputs_of(self.role, np.asarray(original, np.float32), PLACES)
        if x.shape != y.shape or not (np.isfinite(y).all() and np.isfinite(x).all()):
            return
        turned = np.swapaxes(y, 1, 2)
        products = (turned @ y, np.swapaxes(x, 1, 2) @ y, y.sum(axis=1), x.sum(axis=1))
        seen = Sums(*(part.astype(np.float64) for part in products), count=y.shape[1])
        half = self.calls % HALVES
        if half < len(self.parts):
            self.parts[half] = self.parts[half] + seen
        else:
            self.parts.append(seen)
        self.calls += 1

    def halves(self) -> list[Sums]:
        """The sums of every other call."""
        return self.parts

    def whole(self) -> Sums:
        """The sums of all calls; there is at least one."""
        return self.parts[0] if len(self.parts) == 1 else self.parts[0] + self.parts[1]


HALVES = 2
