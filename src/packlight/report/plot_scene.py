"""Layout of the trade-off plot: points, bounds and axes for one canvas."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packlight.presentation.verdict import original
from packlight.records import Measurement, Outcome, VariantResult, counted
from packlight.report.plot_axes import Axis, Box

LEAST_DROP = 0.002
BEYOND = 3.0
"""Drops above this multiple of a typical drop are drawn at the edge."""
WORTH_SHOWING = 10.0
"""A bound above this multiple of a typical drop is off the scale."""
MARGIN = 1.08


@dataclass(frozen=True, slots=True)
class Canvas:
    """Size and margins of a drawing in pixels, and the most ticks across it."""

    width: float
    height: float
    ticks: int
    left: float = 58
    right: float = 14
    top: float = 46
    bottom: float = 44

    def frame(self) -> Box:
        """Rectangle of the plot inside its margins."""
        return Box(self.left, self.top, self.width - self.right, self.height - self.bottom)


@dataclass(frozen=True, slots=True)
class Point:
    """A variant on the plot.

    Attributes:
        number: in the table.
        name: of the variant.
        mark: ``chosen``, ``front`` or ``other``.
        size: bytes.
        drop: with its interval.
    """

    number: int
    name: str
    mark: str
    size: float
    drop: Measurement


@dataclass(frozen=True, slots=True)
class Scene:
    """Data for one drawing.

    Attributes:
        points: variants with a size and a drop.
        bounds: value and text of the bounds on ``size`` and ``drop``.
        metric: that drops.
        canvas: the drawing.
        across: bytes to pixels.
        down: drops to pixels.
    """

    points: tuple[Point, ...]
    bounds: Mapping[str, tuple[float, str]]
    metric: str
    canvas: Canvas
    across: Axis
    down: Axis

    def pixel(self, point: Point) -> tuple[float, float]:
        """Pixel of a point; at the edge if its drop is off the scale."""
        return self.across.at(point.size), self.down.at(point.drop.value)

    def mark(self, point: Point) -> str:
        """Mark of a point; ``beyond`` if its drop is off the scale."""
        if not self.down.holds(point.drop.value):
            return "beyond"
        return point.mark


def scene(outcome: Outcome, canvas: Canvas) -> Scene:
    """Lay out an outcome with at least one variant that has a size and a drop."""
    points = plotted(outcome)
    limits = bounds(outcome)
    frame = canvas.frame()
    across = Axis(0.0, _largest_size(points, limits), frame.left, frame.right)
    low, high = _drop_range(points, limits)
    down = Axis(low, high, frame.bottom, frame.top)
    return Scene(tuple(points), limits, outcome.metric, canvas, across, down)


def plotted(outcome: Outcome) -> list[Point]:
    """Variants with a size and a drop; the original's drop is 0 if it was not measured."""
    points = []
    for number, result in enumerate(outcome.variants):
        size = result.metrics.get("size")
        drop = result.metrics.get("drop")
        if drop is None and result.id == original(outcome).id:
            drop = counted(0.0)
        if size is not None and drop is not None:
            points.append(Point(number, result.name, _mark_of(result, outcome), size.value, drop))
    return points


def _mark_of(result: VariantResult, outcome: Outcome) -> str:
    if result.id == outcome.best:
        return "chosen"
    if result.id in outcome.front:
        return "front"
    return "other"


def bounds(outcome: Outcome) -> dict[str, tuple[float, str]]:
    """Tightest bounds on size and drop, with their texts."""
    base = original(outcome).metrics
    tightest: dict[str, tuple[float, str]] = {}
    for limit in outcome.budget.all():
        is_known = not limit.relative or limit.metric in base
        if limit.metric in ("size", "drop") and is_known:
            candidate = (limit.bound(base), limit.text)
            tightest[limit.metric] = min(candidate, tightest.get(limit.metric, candidate))
    return tightest


def _largest_size(points: Sequence[Point], limits: Mapping[str, tuple[float, str]]) -> float:
    largest = max(point.size for point in points)
    bound = limits.get("size", (0.0, ""))[0]
    if largest < bound <= 2 * largest:
        return bound * MARGIN
    return max(largest, 1.0) * MARGIN


def _drop_range(
    points: Sequence[Point], limits: Mapping[str, tuple[float, str]]
) -> tuple[float, float]:
    """Drops at the bottom and the top: over all points without outliers."""
    drops = [point.drop for point in points]
    changed = [abs(drop.value) for drop in drops if drop.value]
    typical = max(statistics.median(changed or [0.0]), LEAST_DROP)
    bound = limits.get("drop", (0.0, ""))[0]
    if bound <= WORTH_SHOWING * typical:
        typical = max(typical, bound)
    edge = BEYOND * typical
    shown = [drop for drop in drops if abs(drop.value) <= edge]
    high = max([typical * 1.2, *(min(drop.high, edge) for drop in shown)])
    low = min([-0.08 * high, *(max(drop.low, -edge) for drop in shown)])
    return low * MARGIN, high * MARGIN
