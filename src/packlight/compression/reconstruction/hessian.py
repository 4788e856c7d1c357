"""Second moments of what weights multiply, kept while calibration samples pass by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.compression.sites.weight_matrix import inputs_of
from packlight.compression.sites.weight_roles import Role

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

    Beside the inputs, it may be shown those that the weight would have if nothing before it had
    been rounded; then it keeps how far they are apart, and how that goes with the inputs.

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
        self.cross: Doubles = np.zeros((0, 0, 0))
        self.apart: Doubles = np.zeros((0, 0))
        self.waiting: list[Floats] = []
        self.pairs: list[tuple[Floats, Floats]] = []
        self.count = 0
        self.calls = 0
        self.skipped = 0

    def update(self, value: Array) -> None:
        """Take in what one call fed; inputs that are not finite, or too large, are skipped."""
        self.update_pair(value, value)

    def update_pair(self, value: Array, reference: Array) -> None:
        """Take in what one call fed, and what it was meant to feed."""
        inputs = self.read(value)
        if inputs.size == 0:
            return
        if not is_tame(inputs):
            self.skipped += 1
            return
        if not self.calls:
            groups, _, width = inputs.shape
            self.first = inputs[:, 0].copy()
            self.total = np.zeros((groups, width))
            self.outer = np.zeros((groups, width, width))
            self.apart = np.zeros((groups, width))
        inputs = self.in_groups(inputs)
        rows, width = inputs.shape[1:]
        alike = reference is not value and np.shape(reference) == np.shape(value)
        gaps = self.others(reference, inputs) - inputs if alike else None
        inputs = inputs - self.first[:, None]
        if gaps is not None and gaps.any():
            self.apart += gaps.sum(axis=1, dtype=np.float64)
            self.pairs.append((gaps, inputs))
        self.total += inputs.sum(axis=1, dtype=np.float64)
        self.count += rows
        self.calls += 1
        self.waiting.append(inputs)
        if sum(part.shape[1] for part in self.waiting) >= width:
            self.add_up()
        if sum(part.shape[1] for part, _ in self.pairs) >= width:
            self.add_up_pairs()

    def in_groups(self, inputs: Floats) -> Floats:
        """Inputs of as many groups as are kept; more are from now on, where these are of more."""
        groups = max(len(inputs), len(self.first))
        if len(self.first) < groups:
            self.add_up()
            self.add_up_pairs()
            self.first = np.repeat(self.first, groups, axis=0)
            self.total = np.repeat(self.total, groups, axis=0)
            self.outer = np.repeat(self.outer, groups, axis=0)
            self.cross = np.repeat(self.cross, groups, axis=0)
            self.apart = np.repeat(self.apart, groups, axis=0)
        return np.broadcast_to(inputs, (groups, *inputs.shape[1:]))

    def others(self, meant: Array, inputs: Floats) -> Floats:
        """The inputs that were meant; those that were fed where they make no sense."""
        others = self.read(meant)
        return others if others.shape[1:] == inputs.shape[1:] and is_tame(others) else inputs

    def read(self, value: Array) -> Floats:
        """What the weight multiplies of a value, (groups, n, in); nothing of an empty one."""
        if not value.size:
            return np.zeros((0, 0, 0), np.float32)
        return inputs_of(self.role, np.asarray(value, np.float32), self.places)

    def add_up(self) -> None:
        """Add the products of the inputs that wait for it; many at a time are cheaper."""
        if self.waiting:
            inputs = np.concatenate(self.waiting, axis=1)
            self.outer += np.swapaxes(inputs, 1, 2) @ inputs
            self.waiting.clear()

    def add_up_pairs(self) -> None:
        """Add the products of what was missed with what was fed, as far as they wait for it."""
        if self.pairs:
            gaps, fed = (np.concatenate(side, axis=1) for side in zip(*self.pairs, strict=True))
            if not self.cross.size:
                self.cross = np.zeros_like(self.outer)
            self.cross += np.swapaxes(gaps, 1, 2) @ fed
            self.pairs.clear()

    def places(self, width: int) -> int:
        """Inputs to take of one call for a weight of so many inputs."""
        return max(LEAST, min(MOST, width))

    def mean(self) -> Doubles:
        """(groups, in)."""
        return self.first + self.total / self.count

    def missed(self) -> Doubles:
        """What was meant less what was fed, on average, (groups, in)."""
        return self.apart / max(1, self.count)

    def missed_with(self, *, centred: bool) -> Doubles:
        """Products of what was meant less what was fed with what was fed.

        (groups, in, in), about the means or about zero; the first axis of the two is what was
        missed. There are none where all was fed as it was meant.
        """
        self.add_up_pairs()
        if not self.cross.size:
            return self.cross
        found = self.cross / self.count
        mean = self.total / self.count if centred else -self.first
        add_product(found, -self.missed(), mean)
        return found

    def second(self, *, centred: bool) -> Doubles:
        """(groups, in, in), about the means or about zero."""
        self.add_up()
        apart, mean = self.total / self.count, self.mean()
        found = self.outer / self.count
        add_product(found, -apart, apart)
        if not centred:
            add_product(found, mean, mean)
        return found


ROWS = 64


def add_product(moments: Doubles, left: Doubles, right: Doubles | Floats) -> None:
    """Add products of two vectors of each group, (groups, in), some rows at a time, in place."""
    for start in range(0, left.shape[1], ROWS):
        rows = slice(start, start + ROWS)
        moments[:, rows] += left[:, rows, None] * right[:, None, :]


def is_tame(inputs: Floats) -> bool:
    """Whether inputs are finite and their squares stay within float32."""
    return bool(-LARGEST < inputs.min() <= inputs.max() < LARGEST)
