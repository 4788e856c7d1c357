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


class Moments:
    """Sums of the inputs of one weight and of their products.

    Memory is that of a few (groups, in, in) arrays, whatever the number of samples.

    Args:
        role: whose inputs these are.

    Attributes:
        calls: of the model, which unlike the inputs of one call are independent.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.outer: Doubles = np.zeros((0, 0, 0))
        self.total: Doubles = np.zeros((0, 0))
        self.waiting: list[Floats] = []
        self.count = 0
        self.calls = 0

    def update(self, value: Array) -> None:
        """Take in what one call fed; inputs that are not finite are skipped."""
        inputs = inputs_of(self.role, np.asarray(value, np.float32), self.places)
        if inputs.size == 0 or not np.isfinite(inputs).all():
            return
        groups, rows, width = inputs.shape
        if not self.calls:
            self.total = np.zeros((groups, width))
            self.outer = np.zeros((groups, width, width))
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
        return self.total / self.count

    def second(self, *, centred: bool) -> Doubles:
        """(groups, in, in), about the means or about zero."""
        self.add_up()
        found = self.outer / self.count
        if centred:
            mean = self.mean()
            found -= mean[:, :, None] * mean[:, None, :]
        return found
