"""Section of the report on how a search chose: curve, choices by operator, checks, stages."""

from __future__ import annotations

from markupsafe import Markup

from packlight.presentation.exploration import (
    exploration_sentences,
    prediction_texts,
    reason_sentence,
    short_form,
    stage_sentence,
)
from packlight.presentation.markup import breakable, element
from packlight.presentation.numbers import show_bytes, show_share
from packlight.records import Outcome
from packlight.records.exploration import CurvePoint, Exploration, Prediction, SiteReason
from packlight.report.tables import table

SITE_HEADS = ("Operator", "Form", "Before", "After", "Noise", "Reason")
CHECK_HEADS = ("Mix", "Size", "Predicted", "Measured")


def exploration(outcome: Outcome) -> Markup:
    """The section; empty where recipes were given."""
    found = outcome.exploration
    if found is None:
        return Markup("")
    sentences = [element("p", text) for text in exploration_sentences(found)]
    stages = element("ul", *(element("li", stage_sentence(stage)) for stage in found.stages))
    return element("div", *sentences, *_tables(found), element("h3", "Stages"), stages)


def _tables(found: Exploration) -> list[Markup]:
    parts = list[Markup]()
    if found.sites:
        rows = [_site_row(site) for site in found.sites]
        sites = table(SITE_HEADS, rows, "Choices by operator", "sites")
        parts += [element("h3", "Choices"), sites]
    if found.checks:
        rows = [_check_row(check) for check in found.checks]
        caption = "Predicted and measured signal to noise"
        parts += [element("h3", caption), table(CHECK_HEADS, rows, caption, "checks")]
    if found.curve:
        rows = [_curve_row(point) for point in found.curve]
        caption = "Predicted trade-off"
        parts += [
            element("h3", caption),
            table(("Size", "Signal to noise"), rows, caption, "curve"),
        ]
    return parts


def _site_row(site: SiteReason) -> Markup:
    return element(
        "tr",
        element("th", breakable(site.operator), scope="row"),
        element("td", short_form(site.form)),
        element("td", show_bytes(site.before), class_="number"),
        element("td", show_bytes(site.after), class_="number"),
        element("td", show_share(site.share), class_="number"),
        element("td", reason_sentence(site)),
    )


def _check_row(check: Prediction) -> Markup:
    name, *numbers = prediction_texts(check)
    cells = [element("td", text, class_="number") for text in numbers]
    return element("tr", element("th", name, scope="row"), *cells)


def _curve_row(point: CurvePoint) -> Markup:
    return element(
        "tr",
        element("th", show_bytes(point.size), scope="row"),
        element("td", f"{point.snr:.1f} dB", class_="number"),
    )
