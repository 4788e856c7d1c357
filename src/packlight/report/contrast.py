"""Changes from the original to a variant: by group, with intervals, and by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from packlight.presentation.contrasts import (
    NEAR,
    RATES,
    SLICES,
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
"""Samples that the page shows; the record has more."""

STANDING = {"harder": "hit harder", "lighter": "hit lighter"}
DISTANCES = {"Jensen-Shannon": "Jensen-Shannon divergence of the probabilities"}
OUTCOMES = {"lost": "right before, wrong now", "won": "wrong before, right now",
            "changed": "wrong in another way", "same": "same decision", "": ""}  # fmt: skip


def contrast(result: Contrast, name: str, pictures: Mapping[int, Markup]) -> Markup:
    """Section that compares a variant with the original.

    Args:
        result: the record.
        name: of the variant.
        pictures: drawn inputs by sample index.
    """
    parts = [
        element("h3", name),
        element("p", minus(headline(result))),
        shifts("Metric", result.level, {key: key for key in result.level}, ""),
        rates(result),
        groups(result),
        slices(result),
        shifts("Trust", result.trust, TRUST, ""),
        shifts(f"{result.metric} of", result.spread, SPREAD, result.metric),
        neighbors(result),
        moved(result, pictures),
        *(element("p", f"{note[:1].upper()}{note[1:]}.", class_="quiet") for note in result.notes),
    ]
    return element("section", *(part for part in parts if part), class_="contrast")


def _named_table(head: Sequence[str], rows: Sequence[Markup], caption: str) -> Markup:
    return join([element("h4", caption), table(head, rows, caption, "shifts")])


def _row(name: str, *cells: Markup) -> Markup:
    return element("tr", element("th", name, scope="row"), *cells)


def shifts(
    head: str, changes: Mapping[str, Shift], names: Mapping[str, str], metric: str
) -> Markup:  # fmt: skip
    """Table of values of both models and their difference; empty if there are none."""
    rows = []
    for key, text in names.items():
        shift = changes.get(key)
        if shift is not None:
            values = (shift.before, shift.after, shift.change)
            rows.append(_row(text, *(number(metric or key, value) for value in values)))
    if not rows:
        return Markup("")
    return _named_table(("Measure", "Before", "Now", "Change"), rows, head)


def rates(result: Contrast) -> Markup:
    """Shares of decisions or samples that changed."""
    if not result.rates:
        return Markup("")
    rows = [
        _row(text, number("flips", result.rates[key]), _count(result.rates[key]))
        for key, text in RATES.items()
        if key in result.rates
    ]
    words = element("p", balance(result), class_="quiet")
    return join([_named_table(("Decisions", "Share", "Of"), rows, "What changed"), words])


def _count(measurement: Measurement) -> Markup:
    return element("td", f"{measurement.n:,}", class_="number")


def groups(result: Contrast) -> Markup:
    """Worst group, and groups whose drop differs significantly from that of all others."""
    if not result.groups:
        return Markup("")
    parts = [element("h4", "Groups")]
    if result.worst is not None:
        parts.append(element("p", minus(worst_sentence(result))))
    marked = [group for group in result.groups if group.standing in STANDING]
    judged = sum(group.standing != "too small" for group in result.groups)
    if marked:
        ranked = sorted(marked, key=lambda group: -group.drop.value)
        heads = ("Group", "Samples", "Drop", "Above the rest", "q", "Verdict")
        caption = "Groups with a different drop"
        parts.append(table(heads, list(map(_group_row, ranked)), caption, "shifts"))
    else:
        words = f"None of {judged} groups loses significantly more or less than the rest."
        parts.append(element("p", words, class_="quiet"))
    return join(parts)


def _group_row(group: GroupContrast) -> Markup:
    return _row(
        f"{group.column} = {group.name}",
        _count(group.drop),
        number("drop", group.drop),
        number("drop", group.extra),
        element("td", bare_p(group.extra_q), class_="number"),
        element("td", STANDING[group.standing]),
    )


def slices(result: Contrast) -> Markup:
    """Table of discovered segments that lose more; empty if there are none."""
    if not result.slices:
        return Markup("")
    rows = [
        _row(segment.rule, _count(segment.drop), number("drop", segment.drop),
            number("drop", segment.extra), element("td", bare_p(segment.q), class_="number"))
        for segment in result.slices
    ]  # fmt: skip
    heads = ("Segment", "Samples", "Drop", "Above the rest", "q")
    return join(
        [_named_table(heads, rows, "Samples that lose more"), element("p", SLICES, class_="quiet")]
    )


def neighbors(result: Contrast) -> Markup:
    """Table of how well embeddings keep nearest neighbors; empty for other outputs."""
    rows = [
        _row(text, number(key, result.neighbours[key]))
        for key, text in NEAR.items()
        if key in result.neighbours
    ]
    if not rows:
        return Markup("")
    return _named_table(("Of", "Kept"), rows, "Neighbors")


def moved(result: Contrast, pictures: Mapping[int, Markup]) -> Markup:
    """Cards of the samples that changed most, with their inputs if these can be drawn."""
    if not result.moved:
        return Markup("")
    cards = [
        _card(sample, pictures.get(sample.sample, Markup("")))
        for sample in result.moved[:MOST_MOVED]
    ]
    head = f"Changed most, by {DISTANCES.get(result.distance, result.distance)}"
    if any(sample.outcome == "lost" for sample in result.moved):
        head += "; right before and wrong now first"
    return join([element("h4", head), element("ol", *cards, class_="moved")])


def _card(sample: Moved, picture: Markup) -> Markup:
    decision = sample.before
    if sample.before != sample.after:
        decision = f"{sample.before} → {sample.after}"
    outcome = OUTCOMES[sample.outcome]
    lines = [picture, element("b", f"Sample {sample.sample:,}")]
    if decision:
        lines.append(element("span", decision))
    if outcome:
        lines.append(element("small", outcome))
    lines.append(element("small", f"{sample.divergence:.3g}"))
    return element("li", *lines, class_=sample.outcome or "other")
