"""The result of a search in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from packlight.presentation.numbers import (
    plural,
    show_drop,
    show_named,
    show_named_value,
    show_number,
    show_value,
)
from packlight.records.budget import ON_DEVICE, parse_limit
from packlight.records.measurement import Measurement
from packlight.records.outcome import Miss, Outcome, VariantResult

Numbers = Mapping[str, Measurement]


def sentence(outcome: Outcome) -> str:
    """The verdict: the choice with its savings and costs, or the missed budgets."""
    return " ".join([headline(outcome), *details(outcome)])


def headline(outcome: Outcome) -> str:
    """The verdict in one sentence."""
    chosen = choice(outcome)
    base = original(outcome)
    if not outcome.budget.all():
        variants = plural(len(outcome.variants) - 1, "variant")
        return f"{base.name} compared with {variants}; no budget was set."
    if chosen is None:
        return NO_CHOICE[outcome.verdict]
    if chosen.id == base.id:
        return ORIGINAL[outcome.verdict]
    text = CHOSEN[outcome.verdict].format(name=chosen.name)
    if needs_more_memory(chosen.metrics, base.metrics):
        return f"{text[:-1]}, but it needs {memory_phrase(chosen, base)}."
    return text


NOTABLE_MEMORY = 1.25
"""Factor of peak memory from which on it is part of the verdict."""


def needs_more_memory(metrics: Numbers, original: Numbers) -> bool:
    """Tell if a variant surely needs notably more memory than the original.

    Loading a file whose codes become floats takes memory beside the floats for a moment.
    """
    memory = metrics.get("peak_memory")
    before = original.get("peak_memory")
    if memory is None or before is None:
        return False
    return memory.low > before.high and memory.value >= NOTABLE_MEMORY * before.value


def memory_phrase(chosen: VariantResult, base: VariantResult) -> str:
    """Peak memory as a multiple and in bytes."""
    memory = chosen.metrics["peak_memory"]
    before = base.metrics["peak_memory"]
    return (
        f"{memory.value / before.value:.1f} times the memory{measured_here(chosen)}, "
        f"{show_value(memory)} instead of {show_value(before)}"
    )


def measured_here(chosen: VariantResult) -> str:
    """Where a cost was measured, for variants that have predictions for a device beside it."""
    if ON_DEVICE["latency"] in chosen.metrics:
        return " on this machine"
    return ""


def details(outcome: Outcome) -> list[str]:
    """Sentences after the headline: savings, quality, and undecided or missed budgets."""
    chosen = choice(outcome)
    sentences = [miss_sentence(miss) for miss in outcome.misses]
    if chosen is None:
        return sentences
    if not sentences:
        sentences = undecided_budgets(chosen)
    if chosen.id == original(outcome).id:
        return sentences
    return [*changes(outcome, chosen, original(outcome)), *sentences]


NO_CHOICE = {
    "fits": "Every budget can be met, but no variant was chosen.",
    "undecided": "No variant certainly meets every budget; some may.",
    "misses": "No variant meets every budget.",
}
ORIGINAL = {
    "fits": "The original already meets every budget; no variant is a better choice.",
    "undecided": "The original may meet every budget; an interval includes a bound.",
    "misses": "No variant meets every budget; none is better than the original.",
}
CHOSEN = {
    "fits": "{name} meets every budget.",
    "undecided": "{name} may meet every budget; an interval includes a bound.",
    "misses": "No variant meets every budget; {name} is closest.",
}


def choice(outcome: Outcome) -> VariantResult | None:
    """The chosen variant."""
    return next((result for result in outcome.variants if result.id == outcome.best), None)


def original(outcome: Outcome) -> VariantResult:
    """The variant that the search started from."""
    return outcome.variants[0]


def changes(outcome: Outcome, chosen: VariantResult, base: VariantResult) -> list[str]:
    """Savings and costs of the chosen variant."""
    sentences = (
        size_sentence(chosen, base),
        speed_sentence(chosen),
        quality_sentence(outcome, chosen, base),
    )
    return [text for text in sentences if text]


def size_sentence(chosen: VariantResult, base: VariantResult) -> str:
    """Sentence about the size of the file; empty where a size is unknown."""
    before = base.metrics.get("size")
    after = chosen.metrics.get("size")
    if before is None or after is None or not before.value:
        return ""
    share = after.value / before.value
    change = f"{share:.1f} times as large"
    if share < 1:
        change = f"{1 / share:.1f} times smaller"
    elif share == 1:
        change = "as large as the original"
    return f"Its file is {change}: {show_value(after)} instead of {show_value(before)}."


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
    told = show_named("latency_ratio", ratio)
    return f"{verdict}{measured_here(chosen)}: {told} the original's latency."


def quality_sentence(outcome: Outcome, chosen: VariantResult, base: VariantResult) -> str:
    """Sentence about the drop, with its interval."""
    drop = chosen.metrics.get("drop")
    if drop is None:
        return ""
    before = base.metrics.get(outcome.metric)
    now = chosen.metrics.get(outcome.metric)
    values = ""
    if before is not None and now is not None:
        first, second = (show_named_value(outcome.metric, value) for value in (before, now))
        values = f" ({first} before, {second} now)"
    return f"{drop_sentence(outcome.metric, drop)}{values}, {outcome.samples:,} samples."


def drop_sentence(metric: str, drop: Measurement) -> str:
    """Drop in words; a direction only if the whole interval has it.

    >>> drop_sentence("top1", Measurement(0.005, "1", 0.002, 0.008, "measured", 5000))
    'top1 worsens by 0.5 points [0.2, 0.8]'
    """
    if drop.low > 0:
        return f"{metric} worsens by {show_drop(metric, drop)}"
    if drop.high < 0:
        return f"{metric} improves by {show_drop(metric, drop.negative())}"
    if drop.low == drop.high:
        return f"{metric} is unchanged"
    return f"No significant change in {metric}: drop {show_drop(metric, drop)}"


def undecided_budgets(chosen: VariantResult) -> list[str]:
    """Sentence about the budgets whose bound lies in an interval."""
    unclear = [text for text, met in chosen.meets.items() if met == "unclear"]
    if not unclear:
        return []
    return [f"Undecided: {', '.join(unclear)}."]


def miss_sentence(miss: Miss) -> str:
    """Sentence about a missed budget: the gap, and the closest variant."""
    limit = parse_limit(miss.budget)
    metric = limit.judged_by
    bound, gap = (show_number(metric, value, miss.found.unit) for value in (miss.bound, miss.by))
    budget = miss.budget
    if metric != "latency_ratio" and bound.replace(" ", "") not in budget:
        budget = f"{budget} ({bound})"
    standing = f"missed by {gap}"
    if miss.by <= 0:
        standing = "undecided"
    return f"{budget} is {standing}: {miss.name} is closest with {show_named(metric, miss.found)}."
