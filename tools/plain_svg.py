"""Charts as plain SVG text: a frame, axes, lines, dots, boxes and words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

BLACK, GREY, PALE = "#222222", "#666666", "#c9d1d9"
BLUE, SKY, ORANGE, GREEN, RED, PURPLE = (
    "#0072b2", "#56b4e9", "#e69f00", "#009e73", "#d55e00", "#cc79a7",
)  # fmt: skip
"""Colours that people who see few can tell apart. Source: Okabe and Ito (2008)."""

FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale of a chart.

    Attributes:
        name: with the unit.
        low: value at ``start``.
        high: value at ``end``.
        start: place in the drawing.
        end: place in the drawing.
        step: from one tick to the next; 0 for the power of ten below the range.
        powers: whether equal ratios are equal lengths; ticks are powers of ten.
    """

    name: str
    low: float
    high: float
    start: float
    end: float
    step: float = 0.0
    powers: bool = False

    def at(self, value: float) -> float:
        """Where a value lies."""
        low, high = self.low, self.high
        if self.powers:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """Multiples of the step, or powers of ten."""
        if self.powers:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            yield from (10.0**index for index in range(first, last + 1))
            return
        step = self.step or 10 ** math.floor(math.log10(self.high - self.low))
        for index in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1):
            yield round(index * step, 6)


@dataclass(slots=True)
class Drawing:
    """A picture that grows.

    Attributes:
        title: drawn above, and read out.
        width: in pixels.
        height: in pixels.
        parts: what is drawn, in order.
    """

    title: str
    width: int
    height: int
    parts: list[str] = field(default_factory=list)

    def line(
        self, x: float, y: float, to_x: float, to_y: float, colour: str, *, width: float = 1
    ) -> None:
        """Draw a straight line."""
        places = f"x1='{x:.1f}' y1='{y:.1f}' x2='{to_x:.1f}' y2='{to_y:.1f}'"
        self.parts.append(f"<line {places} stroke='{colour}' stroke-width='{width}'/>")

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """Draw a disc."""
        self.parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius}' fill='{colour}'/>")

    def dots(self, spots: Iterable[tuple[float, float]], radius: float, colour: str) -> None:
        """Draw many discs of one colour."""
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in spots)
        how = f"stroke='{colour}' stroke-width='{2 * radius}' stroke-linecap='round'"
        self.parts.append(f"<path d='{path}' {how}/>")

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle."""
        size = f"width='{max(width, 0):.1f}' height='{height:.1f}'"
        self.parts.append(f"<rect x='{x:.1f}' y='{y:.1f}' {size} fill='{colour}'/>")

    def text(
        self,
        x: float,
        y: float,
        words: str,
        anchor: str = "start",
        size: int = 13,
        *,
        colour: str = BLACK,
    ) -> None:
        """Write words; ``anchor`` says which end of them lies at x."""
        how = f"font-size='{size}' fill='{colour}' text-anchor='{anchor}' {FONT}"
        self.parts.append(f"<text x='{x:.1f}' y='{y:.1f}' {how}>{escape(words)}</text>")

    def key(self, x: float, y: float, colour: str, words: str) -> None:
        """Say what a colour means."""
        self.box(x, y - 6, 12, 12, colour)
        self.text(x + 20, y + 5, words)

    def axes(self, across: Axis, up: Axis) -> None:
        """Draw a frame with ticks along both axes."""
        for tick in up.ticks():
            y = up.at(tick)
            self.line(across.start, y, across.end, y, "#e5e8eb")
            self.text(across.start - 8, y + 4, f"{tick:g}", "end", 12, colour=GREY)
        self.text(across.start, up.end - 12, up.name, size=12, colour=GREY)
        self.across(across, up.start)

    def across(self, axis: Axis, y: float) -> None:
        """Draw a horizontal axis with its ticks and name."""
        self.line(axis.start, y, axis.end, y, GREY)
        for tick in axis.ticks():
            self.line(axis.at(tick), y, axis.at(tick), y + 4, GREY)
            self.text(axis.at(tick), y + 18, f"{tick:g}", "middle", 12, colour=GREY)
        self.text((axis.start + axis.end) / 2, y + 38, axis.name, "middle", 12, colour=GREY)

    def svg(self) -> str:
        """The whole picture."""
        size = f"width='{self.width}' height='{self.height}'"
        seen = f"viewBox='0 0 {self.width} {self.height}' role='img'"
        title = escape(self.title)
        bold = f"font-size='15' font-weight='bold' fill='{BLACK}' {FONT}"
        lines = [
            f"<svg xmlns='http://www.w3.org/2000/svg' {size} {seen}>",
            f"<title>{title}</title>",
            "<rect width='100%' height='100%' fill='#ffffff'/>",
            f"<text x='24' y='28' {bold}>{title}</text>",
            *self.parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"
