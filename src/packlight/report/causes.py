"""Diagnosed causes, and lessons from the literature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from packlight.presentation.contrasts import called_for, place, show_evidence
from packlight.presentation.markup import breakable, element, join
from packlight.records import Advice, Finding
from packlight.report.labels import pill
from packlight.report.tables import minus


def findings(causes: Sequence[Finding]) -> Markup:
    """List of causes, the gravest first; empty if there are none."""
    if not causes:
        return Markup("")
    return element("ol", *map(_finding, causes), class_="findings")


def _finding(cause: Finding) -> Markup:
    head = element("p", pill(cause.severity, cause.severity), " ", element("b", cause.cause))
    words = element("p", f"{cause.sentence[:1].upper()}{cause.sentence[1:]}.")
    return element("li", head, words, element("dl", *_facts(cause), class_="facts"))


def _facts(cause: Finding) -> Iterator[Markup]:
    for name, measurement in sorted(cause.evidence.items()):
        yield _pair(name.replace("_", " "), minus(show_evidence(name, measurement)))
    if cause.source is not None:
        yield _pair("where", breakable(place(cause.source)))
    yield _pair("next step", cause.next_step)


def _pair(name: str, text: str) -> Markup:
    return element("div", element("dt", name), element("dd", text))


def lessons(advice: Sequence[Advice]) -> Markup:
    """List of lessons with reasons and sources; empty if there are none."""
    if not advice:
        return Markup("")
    return element("ul", *map(_lesson, advice), class_="lessons")


def _lesson(advice: Advice) -> Markup:
    here = element("p", f"Here {minus(called_for(advice))}.")
    source = element("small", f"Source: {advice.source}")
    return element("li", join([element("p", advice.text), here, source]))
