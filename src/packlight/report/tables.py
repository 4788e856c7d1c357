"""Tables of the report: budgets, variants, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from packlight.presentation.markup import breakable, element, join
from packlight.presentation.numbers import show_named_interval, show_named_value, show_number
from packlight.presentation.verdict import choice, original
from packlight.records import Limit, Measurement, Outcome, Refusal, VariantResult
from packlight.records.budget import ON_DEVICE
from packlight.report.labels import VERDICT_SHORT, badge, name_of, pill

MOST_NAMES = 200
COSTS_SHOWN = ("size", "download", "latency_ratio", "latency", "peak_memory")
UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
BADGE_TONES = dict.fromkeys(("slower", "larger", "more memory", "runtime differs"), "bad")
SENSES = {"<=": "≤", ">=": "≥"}


def table(heads: Sequence[str], rows: Sequence[Markup], caption: str, kind: str) -> Markup:
    """Table in a box that scrolls and takes keyboard focus."""
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    content = element(
        "table",
        element("caption", caption, class_="unseen"),
        head,
        element("tbody", *rows),
        class_=kind,
    )
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)


def number(name: str, measurement: Measurement | None, under: str = "") -> Markup:
    """Cell with a number over its interval."""
    if measurement is None:
        return element("td", UNKNOWN, class_="number none")
    below = show_named_interval(name, measurement) or under
    parts: list[str] = [minus(show_named_value(name, measurement))]
    if below:
        parts.append(element("small", minus(below)))
    return element("td", *parts, class_="number")


def minus(text: str) -> str:
    """Replace hyphens by minus signs and u by µ; the terminal keeps ASCII."""
    return text.replace("-", MINUS).replace(" us", " µs").replace(" uJ", " µJ")


def shown(outcome: Outcome) -> VariantResult | None:
    """Variant that the report details: the chosen one, or the one that misses least."""
    nearest = outcome.misses[0].nearest if outcome.misses else ""
    matching = (result for result in outcome.variants if result.id == nearest)
    return choice(outcome) or next(matching, None)


def budgets(outcome: Outcome) -> Markup:
    """Table of bounds and the values of the shown variant."""
    limits = outcome.budget.all()
    if not limits:
        return element("p", "No budget was set.", class_="quiet")
    result = shown(outcome)
    name = element("small", breakable(result.name if result else "none"))
    column = join(["Chosen" if choice(outcome) else "Nearest", name])
    rows = [_budget_row(limit, outcome, result) for limit in limits]
    return table(("Budget", "Bound", column, "Met"), rows, "Budgets", "budgets")


def _budget_row(limit: Limit, outcome: Outcome, result: VariantResult | None) -> Markup:
    """Row for a bound."""
    value = None
    met_cell: str = UNKNOWN
    if result:
        value = result.metrics.get(limit.judged_by)
        met = result.meets.get(limit.text)
        if met:
            met_cell = pill(met, met)
    code = element("code", limit.text)
    return element(
        "tr",
        element("th", name_of(limit.metric), " ", code, scope="row"),
        element("td", _bound_text(limit, original(outcome)), class_="number"),
        number(limit.judged_by, value),
        element("td", met_cell),
    )


def _bound_text(limit: Limit, base: VariantResult) -> str:
    measurement = base.metrics.get(limit.judged_by)
    if measurement is None and limit.relative:
        return f"{limit.value:g}x"
    unit = measurement.unit if measurement else "1"
    bound = minus(show_number(limit.judged_by, limit.bound(base.metrics), unit))
    return f"{SENSES[limit.sense]} {bound}"


def variants(outcome: Outcome) -> Markup:
    """Table of all variants in the order in which they were tried."""
    measured = {name for result in outcome.variants for name in result.metrics}
    predicted = [name for name in ON_DEVICE.values() if name in measured]
    columns = (*COSTS_SHOWN, *predicted, outcome.metric, "drop", "flips")
    heads = ("#", "Variant", "Budgets", *(name_of(column) for column in columns))
    rows = [
        _variant_row(index, result, outcome, columns)
        for index, result in enumerate(outcome.variants)
    ]
    return table(heads, rows, "Variants", "variants")


def _variant_row(
    index: int, result: VariantResult, outcome: Outcome, columns: Sequence[str]
) -> Markup:
    """Row for a variant, or for its error."""
    chosen = result.id == outcome.best
    head = [
        element("td", str(index), class_="place"),
        element("th", _variant_name(result, outcome), scope="row"),
    ]
    if result.error:
        failed = element("td", "Not measured: ", result.error, colspan=len(columns) + 1)
        return element("tr", *head, failed, class_="failed")
    cells = [cell(column, result, original(outcome)) for column in columns]
    word = pill(result.verdict, VERDICT_SHORT[result.verdict])
    met = element("td", word if outcome.budget.all() else UNKNOWN)
    return element("tr", *head, met, *cells, class_="chosen" if chosen else "other")


def cell(column: str, result: VariantResult, base: VariantResult) -> Markup:
    """Cell of a variant; sizes also as a multiple of the original's."""
    measurement = result.metrics.get(column)
    before = base.metrics.get(column)
    multiple = ""
    if measurement and before and before.value and measurement.unit == "B" and result.id != base.id:
        multiple = f"{measurement.value / before.value:.2f}x"
    return number(column, measurement, multiple)


def _variant_name(result: VariantResult, outcome: Outcome) -> Markup:
    """Name of a variant with its badges, and its recipe if that differs from the name."""
    states = {
        "chosen": result.id == outcome.best,
        "original": result.id == original(outcome).id,
        "front": result.id in outcome.front,
        "failed": bool(result.error),
    }
    badges = [badge(label, label) for label, holds in states.items() if holds]
    badges += [badge(label, BADGE_TONES.get(label, "")) for label in result.labels]
    name = element("span", breakable(result.name), class_="name")
    parts: list[str] = [name, " ", join(badges, " ")]
    if result.recipe not in ("", result.name, "original"):
        parts.append(element("small", element("code", breakable(result.recipe))))
    return element("div", *parts)


def refusals(outcome: Outcome) -> Markup:
    """Table of refusals by method and reason."""
    by_reason = grouped(outcome.variants)
    if not by_reason:
        return element("p", "Nothing was refused.", class_="quiet")
    heads = ("Method", "Why not", "What to do", "Operators")
    rows = [_refusal_row(key, operators) for key, operators in by_reason.items()]
    return table(heads, rows, "Refusals", "refusals")


VariantsByOperator = dict[str, set[str]]
"""Operators with the ids of the variants in which they were refused."""


def grouped(results: Sequence[VariantResult]) -> dict[Refusal, VariantsByOperator]:
    """Refusals that differ in the operator only, most operators first."""
    by_reason: dict[Refusal, VariantsByOperator] = {}
    for result in results:
        for refusal in result.refusals:
            key = replace(refusal, operator="")
            by_reason.setdefault(key, {}).setdefault(refusal.operator, set()).add(result.id)
    return dict(sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0].reason)))


def _refusal_row(key: Refusal, operators: VariantsByOperator) -> Markup:
    """Row for a reason, with its operators folded."""
    count = len(set().union(*operators.values()))
    counts = f"{_counted_noun(len(operators), 'operator')} in {_counted_noun(count, 'variant')}"
    return element(
        "tr",
        element("td", element("code", key.method or UNKNOWN)),
        element("td", key.reason),
        element("td", key.remedy or UNKNOWN),
        element("td", element("details", element("summary", counts), names(list(operators)))),
    )


def names(operators: Sequence[str]) -> Markup:
    """List of operators, cut after ``MOST_NAMES``."""
    items = [element("li", element("code", name)) for name in operators[:MOST_NAMES]]
    remaining = len(operators) - MOST_NAMES
    if remaining > 0:
        items.append(element("li", f"and {remaining:,} more, in the data of this page"))
    return element("ul", *items)


def _counted_noun(count: int, noun: str) -> str:
    """Number and noun.

    >>> _counted_noun(1, "variant"), _counted_noun(1200, "operator")
    ('1 variant', '1,200 operators')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
