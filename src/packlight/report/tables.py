"""Tables of the report: budgets and variants."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from packlight.presentation.markup import breakable, element, join
from packlight.presentation.numbers import show_named_interval, show_named_value, show_number
from packlight.presentation.verdict import choice, original
from packlight.records import Limit, Measurement, Outcome, VariantResult
from packlight.records.budget import ON_DEVICE
from packlight.report.labels import VERDICT_SHORT, badge, name_of, pill

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


def number(
    name: str, measurement: Measurement | None, under: str = "", **attributes: str
) -> Markup:
    """Cell with a number over its interval."""
    if measurement is None:
        return element("td", UNKNOWN, class_="number none", **attributes)
    below = show_named_interval(name, measurement) or under
    parts: list[str] = [minus(show_named_value(name, measurement))]
    if below:
        parts.append(element("small", minus(below)))
    return element("td", *parts, class_="number", **attributes)


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
    word: str = UNKNOWN
    if outcome.budget.all():
        word = pill(result.verdict, VERDICT_SHORT[result.verdict])
    met = element("td", word, data_head="Budgets")
    return element("tr", *head, met, *cells, class_="chosen" if chosen else "other")


def cell(column: str, result: VariantResult, base: VariantResult) -> Markup:
    """Cell of a variant; sizes also as a multiple of the original's."""
    measurement = result.metrics.get(column)
    before = base.metrics.get(column)
    multiple = ""
    if measurement and before and before.value and measurement.unit == "B" and result.id != base.id:
        multiple = f"{measurement.value / before.value:.2f}x"
    return number(column, measurement, multiple, data_head=name_of(column))


def _variant_name(result: VariantResult, outcome: Outcome) -> Markup:
    """Name of a variant with its badges; its recipe, folded, if that differs from the name."""
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
        whole = element("small", element("code", breakable(result.recipe)))
        parts.append(element("details", element("summary", "recipe"), whole))
    return element("div", *parts)
