"""Axes of a plot: ranges, round ticks, and labels that cover nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
DIAGONAL = 0.75
DISTANCES = (8, 13, 21, 32, 46, 64)
NEAR = 8
"""Distance from which on a line connects a label to its point, in pixels."""
LINE = 13


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear map from values to pixels; ``start`` may lie right of or below ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Pixel of a value, clipped to the axis."""
        clipped = min(max(value, self.low), self.high)
        share = (clipped - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def holds(self, value: float) -> bool:
        """Tell if a value is on the axis."""
        return self.low <= value <= self.high


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, box: Box) -> float:
        """Area that two rectangles share."""
        width = min(self.right, box.right) - max(self.left, box.left)
        height = min(self.bottom, box.bottom) - max(self.top, box.top)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, frame: Box) -> float:
        """Area of this rectangle outside a frame."""
        area = (self.right - self.left) * (self.bottom - self.top)
        return area - self.overlap(frame)


class Label(NamedTuple):
    """Box of a label, and whether a line connects it to its point."""

    box: Box
    far: bool


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values in a range, at most ``most``.

    >>> ticks(0, 1, 5)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in ROUND if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def place_labels(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    obstacles: Sequence[Box],
    frame: Box,
) -> list[Label]:
    """Place a label next to each point where it covers least, near positions first.

    Args:
        points: pixels.
        widths: of the labels, in pixels.
        obstacles: boxes that labels should not cover.
        frame: box that labels should stay in.
    """
    occupied = list(obstacles)
    placed = []
    for point, width in zip(points, widths, strict=True):
        label = min(_candidates(point, width), key=partial(cost, occupied=occupied, frame=frame))
        occupied.append(label.box)
        placed.append(label)
    return placed


def _candidates(point: tuple[float, float], width: float) -> list[Label]:
    return [
        Label(_label_box(point, width, across, down, distance), distance > NEAR)
        for distance in DISTANCES
        for across, down in DIRECTIONS
    ]


def _label_box(
    point: tuple[float, float], width: float, across: int, down: int, distance: float
) -> Box:
    reach = distance
    if across and down:
        reach *= DIAGONAL
    x = point[0] + across * (reach + width / 2)
    y = point[1] + down * (reach + LINE / 2)
    return Box(x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2)


def cost(label: Label, occupied: Sequence[Box], frame: Box) -> float:
    """Area that a label covers, plus ten times its area outside the frame."""
    covered = sum(label.box.overlap(box) for box in occupied)
    return covered + 10 * label.box.outside(frame)
