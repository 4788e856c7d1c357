"""How a search chose, what it refused, and what the words of its numbers mean."""

from __future__ import annotations

from collections.abc import Sequence

from packlight.presentation.exploration import (
    exploration_sentences,
    prediction_texts,
    reason_sentence,
    short_form,
    stage_sentence,
)
from packlight.presentation.numbers import show_bytes, show_share
from packlight.presentation.refusals import group_refusals
from packlight.records import Outcome
from packlight.records.exploration import Exploration
from packlight.studio.pages import RefusalLine, SearchPart, TextTable

MOST_NAMES = 200
"""Operators that a refusal names; it counts the others."""


def search_part(outcome: Outcome) -> SearchPart | None:
    """How the search chose; None where recipes were given."""
    found = outcome.exploration
    if found is None:
        return None
    return SearchPart(
        sentences=tuple(exploration_sentences(found)),
        stages=tuple(map(stage_sentence, found.stages)),
        sizes=tuple(point.size for point in found.curve),
        decibels=tuple(point.snr for point in found.curve),
        measured_sizes=tuple(check.made_size for check in found.checks),
        measured_decibels=tuple(check.measured_snr for check in found.checks),
        tables=tuple(table for table in _tables(found) if table.rows),
    )


def _tables(found: Exploration) -> Sequence[TextTable]:
    forms = TextTable(
        "Choices by operator",
        ("Operator", "Form", "Before", "After", "Noise", "Reason"),
        tuple(
            (
                site.operator,
                short_form(site.form),
                show_bytes(site.before),
                show_bytes(site.after),
                show_share(site.share),
                reason_sentence(site),
            )
            for site in found.sites
        ),
    )
    checks = TextTable(
        "Predicted and measured signal to noise",
        ("Mix", "Size", "Predicted", "Measured"),
        tuple(prediction_texts(check) for check in found.checks),
    )
    return forms, checks


def refusal_lines(outcome: Outcome) -> tuple[RefusalLine, ...]:
    """What was not compressed, by method and reason, with the operators."""
    refusals = dict.fromkeys(refusal for result in outcome.variants for refusal in result.refusals)
    lines = []
    for group in group_refusals(refusals):
        refused = set(group.refusals)
        variants = sum(not refused.isdisjoint(result.refusals) for result in outcome.variants)
        details = [
            ": ".join(filter(None, [refusal.operator, group.details(refusal)]))
            for refusal in group.refusals[:MOST_NAMES]
        ]
        lines.append(
            RefusalLine(
                method=group.method,
                reason=group.reason,
                remedy=group.remedy,
                operators=len(group.operators),
                variants=variants,
                details=tuple(detail for detail in details if detail),
            )
        )
    return tuple(lines)
