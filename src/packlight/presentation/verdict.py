"""What a search found, as sentences that need no glossary."""

from __future__ import annotations

from packlight.presentation.numbers import (
    show,
    show_named,
    show_named_value,
    show_number,
    show_value,
)
from packlight.records.budget import parse_limit
from packlight.records.measurement import Measurement
from packlight.records.outcome import Miss, Outcome, VariantResult


def sentence(outcome: Outcome) -> str:
    """The verdict in words: what was chosen, saved and lost, or what is missed and by whom."""
    return " ".join([headline(outcome), *details(outcome)])


def headline(outcome: Outcome) -> str:
    """The verdict in one sentence."""
    chosen = choice(outcome)
    if not outcome.budget.all():
        others = len(outcome.variants) - 1
        return f"{original(outcome).name} and {others} compared with it; no budget was set."
    if chosen is None:
        return NOTHING[outcome.verdict]
    if chosen.id == original(outcome).id:
        return ORIGINAL[outcome.verdict]
    return CHOSEN[outcome.verdict].format(name=chosen.name)


def details(outcome: Outcome) -> list[str]:
    """The sentences that follow the headline: savings, quality, and budgets in the way."""
    chosen, base = choice(outcome), original(outcome)
    told = [] if chosen is None or chosen.id == base.id else changes(outcome, chosen, base)
    open_bounds = [] if chosen is None or outcome.misses else doubts(chosen)
    return [*told, *open_bounds, *(miss_sentence(miss) for miss in outcome.misses)]


NOTHING = {
    "fits": "Every budget can be kept, but no variant was chosen.",
    "undecided": "No variant surely keeps every budget, though some may.",
    "misses": "No variant keeps every budget.",
}
ORIGINAL = {
    "fits": "The original already keeps every budget, and nothing smaller that does was better.",
    "undecided": "The original may keep every budget; these measurements cannot tell.",
    "misses": "No variant keeps every budget, and none is better than the original.",
}
CHOSEN = {
    "fits": "{name} keeps every budget.",
    "undecided": "{name} may keep every budget; these measurements cannot tell.",
    "misses": "No variant keeps every budget; {name} comes nearest.",
}


def choice(outcome: Outcome) -> VariantResult | None:
    """The chosen variant."""
    return next((result for result in outcome.variants if result.id == outcome.best), None)


def original(outcome: Outcome) -> VariantResult:
    """The variant that all others were made from."""
    return outcome.variants[0]


def changes(outcome: Outcome, chosen: VariantResult, base: VariantResult) -> list[str]:
    """What the chosen variant saves and costs against the original."""
    told = [size_sentence(chosen, base), speed_sentence(chosen)]
    return [text for text in [*told, quality_sentence(outcome, chosen, base)] if text]


def size_sentence(chosen: VariantResult, base: VariantResult) -> str:
    """How much smaller the file is; empty where a size is not known."""
    before, after = base.metrics.get("size"), chosen.metrics.get("size")
    if before is None or after is None or not before.value:
        return ""
    share = after.value / before.value
    many = f"{1 / share:.1f} times smaller" if share < 1 else f"{share:.1f} times as large"
    same = before.value == after.value
    size = "as large as the original" if same else many
    return f"Its file is {size}: {show_value(after)} instead of {show_value(before)}."


def speed_sentence(chosen: VariantResult) -> str:
    """Sentence about latency; faster or slower only if the whole interval says so."""
    ratio = chosen.metrics.get("latency_ratio")
    if ratio is None:
        return ""
    verdict = "No measurable change in latency"
    if ratio.high < 1:
        verdict = "It is faster"
    elif ratio.low > 1:
        verdict = "It is slower"
    elif ratio.low == ratio.high:
        verdict = "It is as fast"
    return f"{verdict}: {show(ratio, as_ratio=True)} of the original's time."


def quality_sentence(outcome: Outcome, chosen: VariantResult, base: VariantResult) -> str:
    """What it costs in quality, with the interval."""
    drop = chosen.metrics.get("drop")
    if drop is None:
        return ""
    before = base.metrics.get(outcome.metric)
    now = chosen.metrics.get(outcome.metric)
    values = ""
    if before is not None and now is not None:
        first, second = (show_named_value(outcome.metric, value) for value in (before, now))
        values = f" ({first} before, {second} now)"
    return f"{moved(outcome.metric, drop)}{values}, on {outcome.samples:,} samples."


def moved(metric: str, drop: Measurement) -> str:
    """Drop in words; a direction only if the whole interval has it."""
    if drop.low > 0:
        return f"{metric} worsens by {show(drop)}"
    if drop.high < 0:
        return f"{metric} improves by {show(drop.negative())}"
    if drop.low == drop.high:
        return f"{metric} is unchanged"
    return f"No significant change in {metric}: a drop of {show(drop)}"


def doubts(chosen: VariantResult) -> list[str]:
    """The budgets that the measurements leave open."""
    unclear = [text for text, met in chosen.meets.items() if met == "unclear"]
    return [f"Not certain: {', '.join(unclear)}."] if unclear else []


def miss_sentence(miss: Miss) -> str:
    """A budget that is missed, by how much, and by which variant least."""
    metric = metric_of(miss.budget)
    bound, by = (show_number(metric, value, miss.found.unit) for value in (miss.bound, miss.by))
    found = show_named(metric, miss.found)
    stated = bound.replace(" ", "") in miss.budget
    limit = miss.budget if stated else f"{miss.budget} ({bound})"
    if miss.by <= 0:
        return f"{limit} is not certain: {miss.name} comes nearest with {found}."
    return f"{limit} is missed by {by}: {miss.name} comes nearest with {found}."


def metric_of(budget: str) -> str:
    """What is held against the bound in a budget's text.

    >>> metric_of("size<=2MB"), metric_of("latency<=0.5x")
    ('size', 'latency_ratio')
    """
    return parse_limit(budget).judged_by
