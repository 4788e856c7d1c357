"""HTML page of a check: the budgets, and each over the runs of a history."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from packlight.presentation.gate import (
    base_number,
    conditions,
    headline,
    numbers,
    remark,
    treatment,
)
from packlight.presentation.markup import element
from packlight.presentation.numbers import plural, show_named, show_number
from packlight.records import CheckedBudget, Gate, GateRun
from packlight.report.document import document
from packlight.report.labels import pill
from packlight.report.plot_axes import Axis, Box

WIDTH = 340
HEIGHT = 150
FRAME = Box(64, 12, WIDTH - 8, HEIGHT - 12)
MARGIN = 0.1
"""Share of the range of values that is left free above and below."""

DATE = len("2026-03-01")
MAX_RUNS = 60
"""Runs drawn, the latest ones."""
STATES = {True: "yes", False: "no"}
WORDS = {True: "pass", False: "fail"}
VERDICTS = {True: "fits", False: "misses"}


def gate_page(gate: Gate, runs: Sequence[GateRun] = ()) -> str:
    """HTML document of a check.

    Args:
        gate: the latest check.
        runs: of its history, oldest first.
    """
    title = f"{gate.new} against {gate.base}"
    verdict = VERDICTS[gate.passed]
    head = element(
        "section",
        pill(verdict, WORDS[gate.passed]),
        element("p", headline(gate), class_="headline"),
        element("p", " ".join(filter(None, [conditions(gate), treatment(gate)]))),
        *(element("p", note) for note in gate.notes),
        class_=f"verdict {verdict}",
    )
    sections = [element("section", element("h2", "Budgets"), budget_table(gate))]
    if runs:
        sections.append(element("section", element("h2", "History"), history(gate, runs)))
    top = element("header", element("h1", title))
    return document(title, top, element("main", head, *sections))


def budget_table(gate: Gate) -> Markup:
    """Every budget with its number."""
    heads = ("", "budget", "measured", "base", "")
    rows = [
        element(
            "tr",
            element("td", pill(STATES[checked.passed], WORDS[checked.passed])),
            element("td", element("code", checked.budget)),
            element("td", numbers(checked)),
            element("td", base_number(checked)),
            element("td", remark(checked)),
        )
        for checked in gate.budgets
    ]
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in heads)))
    return element("div", element("table", head, element("tbody", *rows)), class_="scroll")


def history(gate: Gate, runs: Sequence[GateRun]) -> Markup:
    """A chart for each budget of the latest check over all runs that have it."""
    charts = [_chart(checked, runs[-MAX_RUNS:]) for checked in gate.budgets]
    words = "One mark a run, with its 95 % interval; a cross failed; the dashed line is the bound."
    return element("p", words, class_="quiet") + element("div", *charts, class_="runs")


def _chart(checked: CheckedBudget, runs: Sequence[GateRun]) -> Markup:
    """The runs that checked a budget, each at its place among all of them."""
    points = [
        (run.time, past)
        for run in runs
        for past in run.gate.budgets
        if past.budget == checked.budget
    ]
    bound = show_number(checked.metric, checked.bound, checked.measurement.unit)
    latest = show_named(checked.metric, checked.measurement)
    dates = " to ".join(dict.fromkeys(time[:DATE] for time, _ in (points[0], points[-1])))
    title = f"{checked.budget} over {plural(len(points), 'run')}"
    drawing = element(
        "svg",
        element("title", title),
        element("desc", "; ".join(_described(time, past) for time, past in points)),
        *_marks([past for _, past in points]),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="history",
    )
    caption = f"{plural(len(points), 'run')}, {dates}; latest {latest}, bound {bound}"
    return element("figure", element("h3", checked.budget), element("figcaption", caption), drawing)


def _marks(past: Sequence[CheckedBudget]) -> list[Markup]:
    """Bounds, marks with intervals, and the ends of the vertical axis."""
    down = _vertical_axis(past)
    across = Axis(-0.5, len(past) - 0.5, FRAME.left, FRAME.right)
    unit = past[-1].measurement.unit
    marks = [
        element("text", show_number(past[-1].metric, down.high, unit), x=0, y=FRAME.top),
        element("text", show_number(past[-1].metric, down.low, unit), x=0, y=FRAME.bottom),
    ]
    for index, checked in enumerate(past):
        height = down.at(checked.bound)
        ends = {"x1": across.at(index - 0.5), "x2": across.at(index + 0.5)}
        marks.append(element("line", **ends, y1=height, y2=height, class_="bound"))
    return marks + [_mark(across.at(index), down, checked) for index, checked in enumerate(past)]


def _vertical_axis(past: Sequence[CheckedBudget]) -> Axis:
    ends = [
        end
        for checked in past
        for end in (checked.bound, checked.measurement.low, checked.measurement.high)
    ]
    low = min(ends)
    high = max(ends)
    margin = (high - low) * MARGIN or abs(high) * MARGIN or 1.0
    return Axis(low - margin, high + margin, FRAME.bottom, FRAME.top)


def _mark(x: float, down: Axis, past: CheckedBudget) -> Markup:
    """A dot for a run that passed, a cross for one that failed, with the interval."""
    m = past.measurement
    whisker = element("line", x1=x, x2=x, y1=down.at(m.low), y2=down.at(m.high), class_="whisker")
    y = down.at(m.value)
    if past.passed:
        return whisker + element("circle", cx=x, cy=y, r=4, class_="run yes")
    arms = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8"
    return whisker + element("path", d=arms, class_="run no")


def _described(time: str, past: CheckedBudget) -> str:
    return f"{time}: {show_named(past.metric, past.measurement)}, {WORDS[past.passed]}"
