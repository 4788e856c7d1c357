"""What the trade-off plot shows and where: points, bounds and axes for one canvas."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packlight.presentation.verdict import original
from packlight.records import Measurement, Outcome, VariantResult, counted
from packlight.report.plot_axes import Axis, Box

LEAST_DROP = 0.002
BEYOND = 3.0
"""Drops of more than this many times a typical one are drawn at the edge."""
WORTH_SHOWING = 10.0
"""A bound farther than this many typical drops away is left off the scale."""
ROOM = 1.08


@dataclass(frozen=True, slots=True)
class Canvas:
    """A drawing's size, its margins in pixels, and how many ticks its width takes."""

    width: float
    height: float
    ticks: int
    left: float = 58
    right: float = 14
    top: float = 46
    bottom: float = 44

    def frame(self) -> Box:
        """The plot's rectangle."""
        return Box(self.left, self.top, self.width - self.right, self.height - self.bottom)


@dataclass(frozen=True, slots=True)
class Point:
    """A variant on the plot.

    Attributes:
        place: its number in the table.
        name: of the variant.
        mark: ``chosen``, ``front`` or ``other``.
        size: bytes.
        drop: with its interval.
    """

    place: int
    name: str
    mark: str
    size: float
    drop: Measurement


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a drawing needs.

    Attributes:
        points: one for each variant with a size and a drop.
        bounds: of ``size`` and ``drop``, each with its text.
        metric: whose drop it is.
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

    def spot(self, point: Point) -> tuple[float, float]:
        """A point's pixel, at the edge where its drop is off the scale."""
        return self.across.at(point.size), self.down.at(point.drop.value)

    def mark(self, point: Point) -> str:
        """How a point is drawn."""
        return point.mark if self.down.holds(point.drop.value) else "beyond"


def scene(outcome: Outcome, canvas: Canvas) -> Scene:
    """Lay an outcome out on a canvas; it has at least one variant with size and drop."""
    points, asked, frame = plotted(outcome), bounds(outcome), canvas.frame()
    across = Axis(0.0, widest(points, asked), frame.left, frame.right)
    low, high = tallest(points, asked)
    down = Axis(low, high, frame.bottom, frame.top)
    return Scene(tuple(points), asked, outcome.metric, canvas, across, down)


def plotted(outcome: Outcome) -> list[Point]:
    """The variants with a size and a drop; the original's drop is 0 where it is not stated."""
    found = []
    for place, result in enumerate(outcome.variants):
        size, drop = result.metrics.get("size"), result.metrics.get("drop")
        if drop is None and result.id == original(outcome).id:
            drop = counted(0.0)
        if size is not None and drop is not None:
            found.append(Point(place, result.name, mark_of(result, outcome), size.value, drop))
    return found


def mark_of(result: VariantResult, outcome: Outcome) -> str:
    """How a variant is drawn where it is on the scale."""
    on_front = "front" if result.id in outcome.front else "other"
    return "chosen" if result.id == outcome.best else on_front


def bounds(outcome: Outcome) -> dict[str, tuple[float, str]]:
    """The tightest bounds on size and drop, with their texts."""
    base = original(outcome).metrics
    found: dict[str, tuple[float, str]] = {}
    for limit in outcome.budget.all():
        known = not limit.relative or limit.metric in base
        if limit.metric in ("size", "drop") and known:
            told = (limit.bound(base), limit.text)
            found[limit.metric] = min(told, found.get(limit.metric, told))
    return found


def widest(points: Sequence[Point], asked: Mapping[str, tuple[float, str]]) -> float:
    """The size at the right edge: over all points, and the bound where it is not far off."""
    largest = max(point.size for point in points)
    bound = asked.get("size", (0.0, ""))[0]
    return (bound if largest < bound <= 2 * largest else max(largest, 1.0)) * ROOM


def tallest(points: Sequence[Point], asked: Mapping[str, tuple[float, str]]) -> tuple[float, float]:
    """The drops at the bottom and the top: over the points that do not squash the others."""
    drops = [point.drop for point in points]
    changed = [abs(drop.value) for drop in drops if drop.value]
    typical = max(statistics.median(changed or [0.0]), LEAST_DROP)
    bound = asked.get("drop", (0.0, ""))[0]
    typical = max(typical, bound) if bound <= WORTH_SHOWING * typical else typical
    edge = BEYOND * typical
    near = [drop for drop in drops if abs(drop.value) <= edge]
    high = max([typical * 1.2, *(min(drop.high, edge) for drop in near)])
    low = min([-0.08 * high, *(max(drop.low, -edge) for drop in near)])
    return low * ROOM, high * ROOM
