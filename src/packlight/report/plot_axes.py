"""Axes of a plot: ranges, round ticks, and where labels go without covering anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
DIAGONAL = 0.75
DISTANCES = (8, 13, 21, 32, 46, 64)
NEAR = 8
LINE = 13


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear map from values to pixels; ``start`` may lie right of or below ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """The pixel of a value, kept on the axis."""
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value is on the axis."""
        return self.low <= value <= self.high


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that two rectangles share."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        tall = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(tall, 0.0)

    def outside(self, frame: Box) -> float:
        """The area of this rectangle that a frame does not hold."""
        whole = (self.right - self.left) * (self.bottom - self.top)
        return whole - self.overlap(frame)


class Label(NamedTuple):
    """A text's place: the middle of its left edge, and whether a line leads to its point."""

    box: Box
    far: bool


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values on a range, at most so many.

    >>> ticks(0, 1, 5)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in ROUND if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def place_labels(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    taken: Sequence[Box],
    frame: Box,
) -> list[Label]:
    """Put a label beside each point where it covers least, near before far.

    Args:
        points: pixels.
        widths: of the labels, in pixels.
        taken: what no label should cover.
        frame: what no label should leave.
    """
    busy, placed = list(taken), []
    for point, width in zip(points, widths, strict=True):
        label = min(candidates(point, width), key=lambda found: cost(found, busy, frame))
        busy.append(label.box)
        placed.append(label)
    return placed


def candidates(point: tuple[float, float], width: float) -> list[Label]:
    """The places around a point, near ones first."""
    return [
        Label(beside(point, width, across, down, distance), distance > NEAR)
        for distance in DISTANCES
        for across, down in DIRECTIONS
    ]


def beside(
    point: tuple[float, float], width: float, across: int, down: int, distance: float
) -> Box:
    """A label's rectangle in a direction from a point."""
    reach = distance * (DIAGONAL if across and down else 1)
    x = point[0] + across * (reach + width / 2)
    y = point[1] + down * (reach + LINE / 2)
    return Box(x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2)


def cost(label: Label, busy: Sequence[Box], frame: Box) -> float:
    """How much a label covers; leaving the frame counts most."""
    covered = sum(label.box.overlap(other) for other in busy)
    return covered + 10 * label.box.outside(frame)
