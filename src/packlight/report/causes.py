"""What was diagnosed, and what practitioners know about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from packlight.presentation.contrasts import called_for, place, show_evidence
from packlight.presentation.markup import breakable, element, join
from packlight.records import Advice, Finding
from packlight.report.labels import pill
from packlight.report.tables import minus


def findings(found: Sequence[Finding]) -> Markup:
    """Causes, the gravest first; empty where none were found."""
    return element("ol", *map(finding, found), class_="findings") if found else Markup("")


def finding(one: Finding) -> Markup:
    """One cause: what, what shows it, where, and what to do."""
    head = element("p", pill(one.severity, one.severity), " ", element("b", one.cause))
    words = element("p", f"{one.sentence[:1].upper()}{one.sentence[1:]}.")
    return element("li", head, words, element("dl", *facts(one), class_="facts"))


def facts(one: Finding) -> Iterator[Markup]:
    """Evidence, place and next step of a cause."""
    for name, m in sorted(one.evidence.items()):
        yield pair(name.replace("_", " "), minus(show_evidence(name, m)))
    if one.source is not None:
        yield pair("where", breakable(place(one.source)))
    yield pair("do", one.next_step)


def pair(name: str, told: str) -> Markup:
    """A term and what is said of it."""
    return element("div", element("dt", name), element("dd", told))


def lessons(found: Sequence[Advice]) -> Markup:
    """Lessons with what called for them and who says so; empty where there are none."""
    return element("ul", *map(lesson, found), class_="lessons") if found else Markup("")


def lesson(one: Advice) -> Markup:
    """One lesson."""
    here = element("p", f"Here {minus(called_for(one))}.")
    source = element("small", f"Source: {one.source}")
    return element("li", join([element("p", one.text), here, source]))
