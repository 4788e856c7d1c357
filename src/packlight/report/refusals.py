"""Table of the operators that were left as they are, by reason."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from packlight.presentation.markup import element
from packlight.presentation.numbers import plural
from packlight.presentation.refusals import RefusalGroup, group_refusals
from packlight.records import Outcome, Refusal
from packlight.report.tables import UNKNOWN, table

MOST_NAMES = 200


def refusals(outcome: Outcome) -> Markup:
    """Table of refusals by method and reason."""
    groups = group_refusals(
        dict.fromkeys(r for result in outcome.variants for r in result.refusals)
    )
    if not groups:
        return element("p", "Nothing was refused.", class_="quiet")
    heads = ("Method", "Why not", "What to do", "Operators")
    return table(heads, [_row(group, outcome) for group in groups], "Refusals", "refusals")


def _row(group: RefusalGroup, outcome: Outcome) -> Markup:
    """Row for a reason, with its operators folded."""
    refused = set(group.refusals)
    variants = sum(not refused.isdisjoint(result.refusals) for result in outcome.variants)
    counted = plural(len(group.operators), "operator") if group.operators else "the model"
    counts = f"{counted} in {plural(variants, 'variant')}"
    detailed = [_item(refusal, group) for refusal in group.refusals]
    return element(
        "tr",
        element("td", element("code", group.method or UNKNOWN)),
        element("td", group.reason),
        element("td", group.remedy or UNKNOWN),
        element("td", element("details", element("summary", counts), _listed(detailed))),
    )


def _item(refusal: Refusal, group: RefusalGroup) -> Markup:
    """An operator, with what the row does not say of it."""
    parts = [element("code", refusal.operator)]
    own = group.details(refusal)
    if own:
        parts.append(element("small", own))
    return element("li", *parts)


def _listed(items: Sequence[Markup]) -> Markup:
    """List, cut after ``MOST_NAMES``."""
    shown = list(items[:MOST_NAMES])
    remaining = len(items) - MOST_NAMES
    if remaining > 0:
        shown.append(element("li", f"and {remaining:,} more, in the data of this page"))
    return element("ul", *shown)
