"""Explain an outcome: contrast with the original, causes, and lessons from the literature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from packlight.advice import advice_for_findings, advice_for_results, with_lessons
from packlight.diagnosis import Subject
from packlight.diagnosis import diagnose as find_causes
from packlight.errors import ModelError, TaskError
from packlight.evaluation.exactness import RUNTIME_DIFFERS
from packlight.model import stored_size
from packlight.presentation.verdict import choice
from packlight.records import Contrast, Evaluation, Finding, Outcome, Variant
from packlight.search.bench import Bench

DIAGNOSED_SAMPLES = 16
"""Samples for diagnosis: enough for grave causes, at a small part of the time of a search."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings as a project stores them.

    Attributes:
        variant: id.
        found: the gravest first.
    """

    VERSION: ClassVar[int] = 1

    variant: str
    found: tuple[Finding, ...]


def explain(
    bench: Bench, outcome: Outcome, evaluations: Sequence[Evaluation], *, finds_causes: bool = True
) -> Outcome:
    """Add contrast, causes and lessons for the chosen or nearest variant to an outcome.

    Causes are searched if quality dropped significantly, or if the runtime differs from exact
    arithmetic.

    Args:
        bench: that measured the variants.
        outcome: of a search.
        evaluations: of every variant that was measured.
        finds_causes: whether causes are searched at all.
    """
    contrasts: tuple[Contrast, ...] = ()
    causes: tuple[Finding, ...] = ()
    warnings = outcome.warnings
    subject = _subject_of(outcome)
    for evaluation in evaluations:
        variant = bench.store.get("variant", evaluation.variant, Variant)
        if variant is None or variant.id != subject or subject == bench.original.id:
            continue
        contrast = bench.stored_contrast(variant, evaluation)
        contrasts = (*contrasts, contrast)
        if not finds_causes:
            continue
        if contrast.drop.low > 0 or RUNTIME_DIFFERS in evaluation.labels:
            try:
                causes = _causes_of(bench, subject)
            except (ModelError, TaskError) as error:
                warnings = (*warnings, f"The search for causes failed: {error}")
    others = [result for result in outcome.variants[1:] if not result.same_as]
    of_results = advice_for_results(outcome.variants[0], others, outcome.detectable)
    lessons = {advice.lesson: advice for advice in (*advice_for_findings(causes), *of_results)}
    return replace(
        outcome,
        warnings=warnings,
        contrasts=contrasts,
        findings=causes,
        lessons=tuple(lessons.values()),
    )


def _subject_of(outcome: Outcome) -> str:
    chosen = choice(outcome)
    if chosen:
        return chosen.id
    return next((miss.nearest for miss in outcome.misses), "")


def _causes_of(bench: Bench, key: str) -> tuple[Finding, ...]:
    variant = bench.store.get("variant", key, Variant)
    assert variant is not None
    return bench.once("findings", variant, Findings, lambda: diagnose(bench, variant)).found


def diagnose(bench: Bench, variant: Variant) -> Findings:
    """Find causes without latency."""
    before = stored_size(bench.store.path(bench.original.file))
    after = stored_size(bench.store.path(variant.file))
    subject = Subject(
        reference=bench.opened.model,
        variant=bench.model(variant),
        task=bench.task,
        options=bench.options,
        limit=DIAGNOSED_SAMPLES,
        seed=bench.seed,
        sizes=(before, after),
    )
    return Findings(variant.id, tuple(map(with_lessons, find_causes(subject))))
