"""Trade-off plot: size against drop, with intervals, the budget's region and the choice."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

from packlight.presentation.markup import element
from packlight.records import Outcome
from packlight.report.plot_marks import describe, figures, ground, symbol
from packlight.report.plot_scene import Canvas, Scene, plotted, scene

FRAME_HEIGHT = 560
"""Height of the plot in a notebook, in pixels."""

CANVASES = {
    "wide": Canvas(1060, 430, ticks=11),
    "narrow": Canvas(340, 380, ticks=5, left=42, right=8),
}


def trade_off(outcome: Outcome) -> Markup:
    """Plot in two widths with its legend; the page shows the width that fits."""
    if not plotted(outcome):
        return element("p", "No variant has both a size and a drop.", class_="quiet")
    scenes = {kind: scene(outcome, canvas) for kind, canvas in CANVASES.items()}
    drawings = [_drawing(shown, kind) for kind, shown in scenes.items()]
    return element("figure", *drawings, element("figcaption", *_legend(scenes["wide"])))


def plot_frame(outcome: Outcome) -> Markup:
    """Plot in an iframe, so that its styles do not change the notebook."""
    style = element("style", Markup(stylesheet()))
    page = Markup("<!doctype html>") + style + trade_off(outcome)
    return element("iframe", srcdoc=str(page), width="100%", height=FRAME_HEIGHT, style="border: 0")


def stylesheet() -> str:
    """Style sheet of the report."""
    return resources.files("packlight.report").joinpath("report.css").read_text("utf-8")


def _drawing(shown: Scene, kind: str) -> Markup:
    """Draw the plot in one width."""
    count = len(shown.points)
    size = shown.canvas
    words = "; ".join(describe(point) for point in shown.points)
    return element(
        "svg",
        element("title", f"File size and drop of {count} variants", id=f"{kind}-title"),
        element("desc", words, id=f"{kind}-desc"),
        *ground(shown),
        *figures(shown),
        viewBox=f"0 0 {size.width:g} {size.height:g}",
        role="img",
        aria_labelledby=f"{kind}-title",
        aria_describedby=f"{kind}-desc",
        class_=f"plot {kind}",
    )


def _legend(shown: Scene) -> list[Markup]:
    drawn = {shown.mark(point) for point in shown.points}
    if shown.bounds:
        drawn.add("region")
    keys = [_key(kind, words) for kind, words in KEYS.items() if kind in drawn]
    hint = "Numbers are those of the table, lines are 95 % intervals; low and left is better."
    return [element("p", *keys, class_="keys"), element("p", hint)]


KEYS = {
    "chosen": "chosen",
    "front": "on the front",
    "other": "not on the front",
    "beyond": "off this scale, see the table",
    "region": "inside the budget",
}


def _key(kind: str, words: str) -> Markup:
    mark = element("svg", symbol(kind, 8, 8), width=16, height=16, aria_hidden="true")
    return element("span", mark, words, class_="key")
