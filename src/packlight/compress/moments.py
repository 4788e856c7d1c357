"""Second moments of what weights multiply, kept while calibration samples pass by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.compress.matrix import inputs_of
from packlight.compress.roles import Role

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

MOST, LEAST = 128, 16
"""Inputs taken of one call: neighbours in a feature map tell little that is new."""

LARGEST = np.float32(2.0**50)
"""Inputs above are left out as those that are not finite: sums of their squares leave float32."""


class Moments:
    """Sums of the inputs of one weight and of their products.

    Memory is that of a few (groups, in, in) arrays, whatever the number of samples. What is summed
    up is how far inputs are from the first, so that what they have in common costs no digits and
    inputs that never change have a variance of exactly 0.

    Args:
        role: whose inputs these are.

    Attributes:
        calls: of the model, which unlike the inputs of one call are independent.
        skipped: calls whose inputs are not finite or too large.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.first: Floats = np.zeros((0, 0), np.float32)
        self.outer: Doubles = np.zeros((0, 0, 0))
        self.total: Doubles = np.zeros((0, 0))
        self.waiting: list[Floats] = []
        self.count = 0
        self.calls = 0
        self.skipped = 0

    def update(self, value: Array) -> None:
        """Take in what one call fed; inputs that are not finite, or too large, are skipped."""
        inputs = inputs_of(self.role, np.asarray(value, np.float32), self.places)
        if inputs.size == 0:
            return
        if not -LARGEST < inputs.min() <= inputs.max() < LARGEST:
            self.skipped += 1
            return
        groups, rows, width = inputs.shape
        if not self.calls:
            self.first = inputs[:, 0].copy()
            self.total = np.zeros((groups, width))
            self.outer = np.zeros((groups, width, width))
        inputs = inputs - self.first[:, None]
        self.total += inputs.sum(axis=1, dtype=np.float64)
        self.count += rows
        self.calls += 1
        self.waiting.append(inputs)
        if sum(part.shape[1] for part in self.waiting) >= width:
            self.add_up()

    def add_up(self) -> None:
        """Add the products of the inputs that wait for it; many at a time are cheaper."""
        if self.waiting:
            inputs = np.concatenate(self.waiting, axis=1)
            self.outer += np.swapaxes(inputs, 1, 2) @ inputs
            self.waiting.clear()

    def places(self, width: int) -> int:
        """Inputs to take of one call for a weight of so many inputs."""
        return max(LEAST, min(MOST, width))

    def mean(self) -> Doubles:
        """(groups, in)."""
        return self.first + self.total / self.count

    def second(self, *, centred: bool) -> Doubles:
        """(groups, in, in), about the means or about zero."""
        self.add_up()
        apart, mean = self.total / self.count, self.mean()
        found = self.outer / self.count
        found -= apart[:, :, None] * apart[:, None, :]
        if not centred:
            found += mean[:, :, None] * mean[:, None, :]
        return found
