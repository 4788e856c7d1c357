"""Drop and flips by group, as numbers and as bars on a common scale."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from packlight.presentation.markup import element, join
from packlight.records import Group, Measurement, VariantResult
from packlight.report.tables import number, table

BAR = 8
MIDDLE = 9
HEIGHT = 18
"""Bar thickness, center line and height of a cell, in pixels."""
LEAST_SPAN = 0.01


def groups(result: VariantResult, metric: str) -> Markup:
    """Tables, one for each column of groups, worst group first."""
    columns = dict.fromkeys(group.column for group in result.groups)
    return join(_column_table(column, result.groups, metric) for column in columns)


def _column_table(column: str, all_groups: Sequence[Group], metric: str) -> Markup:
    chosen = [group for group in all_groups if group.column == column]
    chosen.sort(key=lambda group: (-group.drop.value, group.name))
    flips = [group.flips for group in chosen if group.flips is not None]
    low, high = _span([group.drop for group in chosen])
    _, most = _span(flips)
    heads = [column.capitalize(), "Samples", metric, "Drop", _unseen("Drop, drawn")]
    if flips:
        heads += ["Flips", _unseen("Flips, drawn")]
    rows = [
        element(
            "tr", *_start(group, metric), _bar(group.drop, low, high), *_flip_cells(group, most)
        )
        for group in chosen
    ]
    content = table(heads, rows, f"Drop and flips by {column}", "groups")
    return element("section", element("h3", "By ", column), content)


def _unseen(text: str) -> Markup:
    return element("span", text, class_="unseen")


def _start(group: Group, metric: str) -> list[Markup]:
    return [
        element("th", group.name, scope="row"),
        element("td", f"{group.n:,}", class_="number"),
        number(metric, group.metric),
        number("drop", group.drop),
    ]


def _flip_cells(group: Group, most: float) -> list[Markup]:
    if group.flips is None:
        return []
    return [number("flips", group.flips), _bar(group.flips, 0.0, most, signed=False)]


def _span(numbers: Sequence[Measurement]) -> tuple[float, float]:
    low = min([0.0, *(m.low for m in numbers)])
    return low, max([low + LEAST_SPAN, *(m.high for m in numbers)])


def _bar(drop: Measurement, low: float, high: float, signed: bool = True) -> Markup:
    """Cell with a bar from zero and a whisker; ``signed`` colors worse and better."""

    def percent(value: float) -> float:
        return 1 + 98 * (value - low) / (high - low)

    def across(tag_class: str, ends: tuple[float, float], y: float, height: float) -> Markup:
        first, last = sorted(percent(end) for end in ends)
        x = f"{first:.2f}%"
        width = f"{last - first:.2f}%"
        return element("rect", x=x, width=width, y=y, height=height, class_=tag_class)

    def upright(tag_class: str, value: float, y: float, height: float) -> Markup:
        x = f"{percent(value):.2f}%"
        return element("line", x1=x, x2=x, y1=y, y2=y + height, class_=tag_class)

    tone = "even"
    if signed and drop.low > 0:
        tone = "worse"
    elif signed and drop.high < 0:
        tone = "better"
    shapes = [
        across(f"bar {tone}", (0.0, drop.value), MIDDLE - BAR / 2, BAR),
        across("whisker", (drop.low, drop.high), MIDDLE - 0.75, 1.5),
        upright("end", drop.low, MIDDLE - 3, 6),
        upright("end", drop.high, MIDDLE - 3, 6),
        upright("zero", 0.0, 0, HEIGHT),
    ]
    drawing = element("svg", *shapes, width="100%", height=HEIGHT, aria_hidden="true")
    return element("td", drawing, class_="bars")
