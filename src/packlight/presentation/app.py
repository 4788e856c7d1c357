"""What is chosen for the models of an app, in sentences."""

from __future__ import annotations

from packlight.presentation.numbers import show_named_value, show_value
from packlight.records.app import AppOutcome, AppPart

VERDICTS = {
    "fits": "All models together meet every budget.",
    "undecided": "All models together may meet every budget; an interval includes a bound.",
    "misses": "No choice that was measured meets every budget; this one is nearest.",
    "unjudged": "No budget was set.",
}
SHOWN = ("size", "latency_ratio", "snr", "drop")


def app_sentences(outcome: AppOutcome) -> list[str]:
    """Verdict, totals, a line for each model, and what would have to change."""
    totals = ", ".join(
        f"{name.replace('_', ' ')} {show_value(total)} instead of "
        f"{show_value(outcome.originals[name])}"
        for name, total in outcome.totals.items()
    )
    missed = [text for text, met in outcome.meets.items() if met == "no"]
    sentences = [VERDICTS[outcome.verdict], f"Together: {totals}."]
    if missed:
        sentences.append(f"Missed: {', '.join(missed)}.")
    return [*sentences, *map(part_line, outcome.parts), *outcome.advice]


def part_line(part: AppPart) -> str:
    """One model: its variant, costs and own verdict."""
    shown = [
        f"{name.replace('_', ' ')} {show_named_value(name, part.metrics[name])}"
        for name in SHOWN
        if name in part.metrics
    ]
    return f"{part.name}: {part.variant}, {', '.join(shown)}, {part.verdict}"
