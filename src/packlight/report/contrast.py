"""What changed from the original to a variant: for whom, how surely, and on which samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from packlight.presentation.contrasts import (
    NEAR,
    RATES,
    SPREAD,
    TRUST,
    balance,
    bare_p,
    headline,
    worst_sentence,
)
from packlight.presentation.markup import element, join
from packlight.records import Contrast, GroupContrast, Measurement, Moved, Shift
from packlight.report.tables import minus, number, table

MOST_MOVED = 12
"""Samples that are shown; the record has more."""

STANDING = {"harder": "hit harder", "lighter": "hit lighter"}
DISTANCES = {"Jensen-Shannon": "Jensen-Shannon divergence of the probabilities"}
OUTCOMES = {"lost": "right before, wrong now", "won": "wrong before, right now",
            "changed": "wrong in another way", "same": "same decision", "": ""}  # fmt: skip


def contrast(found: Contrast, name: str, pictures: Mapping[int, Markup]) -> Markup:
    """A variant against the original.

    Args:
        found: the numbers.
        name: of the variant.
        pictures: inputs of samples by index, drawn.
    """
    parts = [
        element("h3", name),
        element("p", minus(headline(found))),
        shifts("Metric", found.level, {key: key for key in found.level}, ""),
        rates(found),
        groups(found),
        slices(found),
        shifts("Trust", found.trust, TRUST, ""),
        shifts(f"{found.metric} of", found.spread, SPREAD, found.metric),
        neighbours(found),
        moved(found, pictures),
        *(element("p", f"{told[:1].upper()}{told[1:]}.", class_="quiet") for told in found.notes),
    ]
    return element("section", *(part for part in parts if part), class_="contrast")


def named_table(head: Sequence[str], rows: Sequence[Markup], caption: str) -> Markup:
    """A table under a caption that is seen."""
    return join([element("h4", caption), table(head, rows, caption, "shifts")])


def row(name: str, *cells: Markup) -> Markup:
    """A row that begins with its name."""
    return element("tr", element("th", name, scope="row"), *cells)


def shifts(
    head: str, found: Mapping[str, Shift], names: Mapping[str, str], metric: str
) -> Markup:  # fmt: skip
    """Numbers of both models and their difference; empty where there are none."""
    rows = [
        row(text, *(number(metric or key, m) for m in (one.before, one.after, one.change)))
        for key, text in names.items()
        for one in ([found[key]] if key in found else [])
    ]
    return named_table(("", "Before", "Now", "Change"), rows, head) if rows else Markup("")


def rates(found: Contrast) -> Markup:
    """How many decisions or samples changed."""
    if not found.rates:
        return Markup("")
    rows = [
        row(text, number("flips", found.rates[key]), count(found.rates[key]))
        for key, text in RATES.items()
        if key in found.rates
    ]
    words = element("p", balance(found), class_="quiet")
    return join([named_table(("", "Share", "Of"), rows, "What changed"), words])


def count(found: Measurement) -> Markup:
    """A cell with how many there are."""
    return element("td", f"{found.n:,}", class_="number")


def groups(found: Contrast) -> Markup:
    """The worst group, and those that are surely hit otherwise than the rest."""
    if not found.groups:
        return Markup("")
    told = [element("h4", "Groups")]
    if found.worst is not None:
        told.append(element("p", minus(worst_sentence(found))))
    marked = [one for one in found.groups if one.standing in STANDING]
    judged = sum(one.standing != "too small" for one in found.groups)
    if marked:
        ranked = sorted(marked, key=lambda one: -one.drop.value)
        heads = ("Group", "Samples", "Drop", "Above the rest", "q", "")
        told.append(table(heads, list(map(group_row, ranked)), "Groups unlike the rest", "shifts"))
    else:
        words = f"None of {judged} groups surely loses more or less than the rest."
        told.append(element("p", words, class_="quiet"))
    return join(told)


def group_row(one: GroupContrast) -> Markup:
    """One group against the rest."""
    return row(
        f"{one.column} = {one.name}",
        count(one.drop),
        number("drop", one.drop),
        number("drop", one.extra),
        element("td", bare_p(one.extra_q), class_="number"),
        element("td", STANDING[one.standing]),
    )


def slices(found: Contrast) -> Markup:
    """Samples that lose more though nobody named them."""
    if not found.slices:
        return Markup("")
    rows = [
        row(one.rule, count(one.drop), number("drop", one.drop), number("drop", one.extra),
            element("td", bare_p(one.q), class_="number"))
        for one in found.slices
    ]  # fmt: skip
    heads = ("", "Samples", "Drop", "Above the rest", "q")
    words = "Found on one half of the samples; the numbers are of the other half."
    return join(
        [named_table(heads, rows, "Samples that lose more"), element("p", words, class_="quiet")]
    )


def neighbours(found: Contrast) -> Markup:
    """Whether embeddings keep who is near whom."""
    rows = [
        row(text, number(key, found.neighbours[key]))
        for key, text in NEAR.items()
        if key in found.neighbours
    ]
    return named_table(("", "Kept"), rows, "Neighbours") if rows else Markup("")


def moved(found: Contrast, pictures: Mapping[int, Markup]) -> Markup:
    """The samples that changed most, with their inputs where these can be drawn."""
    if not found.moved:
        return Markup("")
    cards = [card(one, pictures.get(one.sample, Markup(""))) for one in found.moved[:MOST_MOVED]]
    head = f"Changed most, by {DISTANCES.get(found.distance, found.distance)}"
    return join([element("h4", head), element("ol", *cards, class_="moved")])


def card(one: Moved, picture: Markup) -> Markup:
    """One sample: its input, what was decided on it, and how far its outputs moved."""
    decided = f"{one.before} → {one.after}" if one.before != one.after else one.before
    lines = [
        element("b", f"Sample {one.sample:,}"),
        *([element("span", decided)] if decided else []),
        *([element("small", OUTCOMES[one.outcome])] if one.outcome else []),
        element("small", f"{one.divergence:.3g}"),
    ]
    return element("li", *([picture] if picture else []), *lines)
