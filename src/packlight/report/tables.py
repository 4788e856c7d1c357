"""The report's tables: budgets, variants, refusals."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from packlight.presentation.markup import breakable, element, join
from packlight.presentation.numbers import show_named_interval, show_named_value, show_number
from packlight.presentation.verdict import choice, original
from packlight.records import Limit, Measurement, Outcome, Refusal, VariantResult
from packlight.report.labels import VERDICT, badge, name_of, pill

MOST_NAMES = 200
COSTS_SHOWN = ("size", "download", "latency_ratio", "latency", "peak_memory")
UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
BAD_LABELS = ("slower", "larger", "runtime differs")


def table(heads: Sequence[str], rows: Sequence[Markup], caption: str, kind: str) -> Markup:
    """A table that scrolls in its own box; the box takes the keyboard for that."""
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    whole = element(
        "table",
        element("caption", caption, class_="unseen"),
        head,
        element("tbody", *rows),
        class_=kind,
    )
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def number(name: str, found: Measurement | None, under: str = "") -> Markup:
    """A cell with a number over its interval."""
    if found is None:
        return element("td", UNKNOWN, class_="number none")
    below = show_named_interval(name, found) or under
    small = (element("small", minus(below)),) if below else ()
    return element("td", minus(show_named_value(name, found)), *small, class_="number")


def minus(text: str) -> str:
    """A true minus for print; the command line keeps the hyphen."""
    return text.replace("-", MINUS).replace(" us", " µs").replace(" uJ", " µJ")


def shown(outcome: Outcome) -> VariantResult | None:
    """The variant whose details the report tells: the chosen one, or that nearest to fitting."""
    nearest = outcome.misses[0].nearest if outcome.misses else ""
    others = (result for result in outcome.variants if result.id == nearest)
    return choice(outcome) or next(others, None)


def budgets(outcome: Outcome) -> Markup:
    """Every bound beside what the shown variant has."""
    limits = outcome.budget.all()
    if not limits:
        return element("p", "No budget was asked.", class_="quiet")
    found = shown(outcome)
    name = element("small", breakable(found.name if found else "none"))
    whose = join(["Chosen" if choice(outcome) else "Nearest", name])
    rows = [budget_row(limit, outcome, found) for limit in limits]
    return table(("Budget", "Bound", whose, "Met"), rows, "Budgets", "budgets")


def budget_row(limit: Limit, outcome: Outcome, found: VariantResult | None) -> Markup:
    """One bound."""
    value = found.metrics.get(limit.judged_by) if found else None
    met = found.meets.get(limit.text) if found else None
    told = pill(met, met) if met else UNKNOWN
    code = element("code", limit.text)
    return element(
        "tr",
        element("th", name_of(limit.metric), " ", code, scope="row"),
        element("td", bound_text(limit, original(outcome)), class_="number"),
        number(limit.judged_by, value),
        element("td", told),
    )


def bound_text(limit: Limit, base: VariantResult) -> str:
    """A bound in the unit of its metric."""
    known = base.metrics.get(limit.judged_by)
    if known is None and limit.relative:
        return f"{limit.value:g}x"
    sense = "≤" if limit.sense == "<=" else "≥"
    unit = known.unit if known else "1"
    return f"{sense} {minus(show_number(limit.judged_by, limit.bound(base.metrics), unit))}"


def variants(outcome: Outcome) -> Markup:
    """All variants with their numbers, as they were tried."""
    columns = (*COSTS_SHOWN, outcome.metric, "drop", "flips")
    heads = ("#", "Variant", "Budgets", *(name_of(column) for column in columns))
    rows = [
        variant_row(place, result, outcome, columns)
        for place, result in enumerate(outcome.variants)
    ]
    return table(heads, rows, "Variants", "variants")


def variant_row(
    place: int, result: VariantResult, outcome: Outcome, columns: Sequence[str]
) -> Markup:
    """One variant; one that failed says why."""
    chosen = result.id == outcome.best
    head = [
        element("td", str(place), class_="place"),
        element("th", variant_name(result, outcome), scope="row"),
    ]
    if result.error:
        failed = element("td", "Not measured: ", result.error, colspan=len(columns) + 1)
        return element("tr", *head, failed, class_="failed")
    cells = [cell(column, result, original(outcome)) for column in columns]
    word = pill(result.verdict, VERDICT[result.verdict].split()[-1].lower())
    met = element("td", word if outcome.budget.all() else UNKNOWN)
    return element("tr", *head, met, *cells, class_="chosen" if chosen else "other")


def cell(column: str, result: VariantResult, base: VariantResult) -> Markup:
    """One number of a variant; a size also as a multiple of the original's."""
    found, before = result.metrics.get(column), base.metrics.get(column)
    multiple = ""
    if found and before and before.value and found.unit == "B" and result.id != base.id:
        multiple = f"{found.value / before.value:.2f}x"
    return number(column, found, multiple)


def variant_name(result: VariantResult, outcome: Outcome) -> Markup:
    """A variant's name with its badges and, where it says more, its recipe."""
    states = {
        "chosen": result.id == outcome.best,
        "original": result.id == original(outcome).id,
        "front": result.id in outcome.front,
        "failed": bool(result.error),
    }
    badges = [badge(label, label) for label, holds in states.items() if holds]
    badges += [badge(label, "bad" if label in BAD_LABELS else "") for label in result.labels]
    recipe = (element("small", element("code", breakable(result.recipe))),)
    told = recipe if result.recipe not in ("", result.name, "original") else ()
    return element(
        "div", element("span", breakable(result.name), class_="name"), " ", join(badges, " "), *told
    )


def refusals(outcome: Outcome) -> Markup:
    """What could have been compressed and was not, by method and reason."""
    found = grouped(outcome.variants)
    if not found:
        return element("p", "Nothing was refused.", class_="quiet")
    heads = ("Method", "Why not", "What to do", "Operators")
    rows = [refusal_row(key, places) for key, places in found.items()]
    return table(heads, rows, "Refusals", "refusals")


Places = dict[str, set[str]]
"""Operators, each with the ids of the variants it was refused in."""


def grouped(results: Sequence[VariantResult]) -> dict[Refusal, Places]:
    """Refusals that differ in the operator only, most operators first."""
    found: dict[Refusal, Places] = {}
    for result in results:
        for refusal in result.refusals:
            key = Refusal("", refusal.reason, refusal.remedy, refusal.method)
            found.setdefault(key, {}).setdefault(refusal.operator, set()).add(result.id)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0].reason)))


def refusal_row(key: Refusal, places: Places) -> Markup:
    """One reason, with its operators folded away."""
    made = len(set().union(*places.values()))
    counts = f"{counted_noun(len(places), 'operator')} in {counted_noun(made, 'variant')}"
    return element(
        "tr",
        element("td", element("code", key.method or UNKNOWN)),
        element("td", key.reason),
        element("td", key.remedy or UNKNOWN),
        element("td", element("details", element("summary", counts), names(list(places)))),
    )


def names(operators: Sequence[str]) -> Markup:
    """Operators as a list, cut where nobody reads on."""
    items = [element("li", element("code", name)) for name in operators[:MOST_NAMES]]
    left = len(operators) - MOST_NAMES
    more = (element("li", f"and {left:,} more, in the data of this page"),) if left > 0 else ()
    return element("ul", *items, *more)


def counted_noun(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted_noun(1, "variant"), counted_noun(1200, "operator")
    ('1 variant', '1,200 operators')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
