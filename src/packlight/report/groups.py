"""Drop and flips by group, as numbers and bars on one scale."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from packlight.presentation.markup import element, join
from packlight.records import Group, Measurement, VariantResult
from packlight.report.tables import number, table

BAR, MIDDLE, HEIGHT = 8, 9, 18
LEAST_SPAN = 0.01


def groups(result: VariantResult, metric: str) -> Markup:
    """One table for each column of groups, worst group first."""
    columns = dict.fromkeys(group.column for group in result.groups)
    return join(column_table(column, result.groups, metric) for column in columns)


def column_table(column: str, all_groups: Sequence[Group], metric: str) -> Markup:
    """The groups of one column."""
    chosen = [group for group in all_groups if group.column == column]
    chosen.sort(key=lambda group: (-group.drop.value, group.name))
    flips = [group.flips for group in chosen if group.flips is not None]
    low, high = span([group.drop for group in chosen])
    _, most = span(flips)
    heads = ["Group", "Samples", metric, "Drop", "", *(["Flips", ""] if flips else [])]
    rows = [
        element("tr", *start(group, metric), bar(group.drop, low, high), *flip_cells(group, most))
        for group in chosen
    ]
    told = table(heads, rows, f"Drop and flips by {column}", "groups")
    return element("section", element("h3", "By ", column), told)


def start(group: Group, metric: str) -> list[Markup]:
    """The cells of a group up to its drop."""
    return [
        element("th", group.name, scope="row"),
        element("td", f"{group.n:,}", class_="number"),
        number(metric, group.metric),
        number("drop", group.drop),
    ]


def flip_cells(group: Group, most: float) -> list[Markup]:
    """The cells for flips, where something is decided."""
    if group.flips is None:
        return []
    return [number("flips", group.flips), bar(group.flips, 0.0, most, signed=False)]


def span(numbers: Sequence[Measurement]) -> tuple[float, float]:
    """The range that shows zero and every interval."""
    low = min([0.0, *(found.low for found in numbers)])
    return low, max([low + LEAST_SPAN, *(found.high for found in numbers)])


def bar(found: Measurement, low: float, high: float, signed: bool = True) -> Markup:
    """A bar from zero with a whisker, as wide as its cell; ``signed`` colours worse and better."""

    def at(value: float) -> float:
        return 1 + 98 * (value - low) / (high - low)

    def across(tag_class: str, ends: tuple[float, float], y: float, height: float) -> Markup:
        first, last = sorted(at(end) for end in ends)
        x, width = f"{first:.2f}%", f"{last - first:.2f}%"
        return element("rect", x=x, width=width, y=y, height=height, class_=tag_class)

    def upright(tag_class: str, value: float, y: float, height: float) -> Markup:
        x = f"{at(value):.2f}%"
        return element("line", x1=x, x2=x, y1=y, y2=y + height, class_=tag_class)

    sure = "worse" if found.low > 0 else "better" if found.high < 0 else "even"
    tone = sure if signed else "even"
    shapes = [
        across(f"bar {tone}", (0.0, found.value), MIDDLE - BAR / 2, BAR),
        across("whisker", (found.low, found.high), MIDDLE - 0.75, 1.5),
        *(upright("end", end, MIDDLE - 3, 6) for end in (found.low, found.high)),
        upright("zero", 0.0, 0, HEIGHT),
    ]
    drawing = element("svg", *shapes, width="100%", height=HEIGHT, aria_hidden="true")
    return element("td", drawing, class_="bars")
