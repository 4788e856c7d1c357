"""What a report tells beside numbers: what changed for whom, why, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from packlight.report.contrast import MOST_MOVED
from packlight.runtime import Steps
from packlight.search.bench import Bench
from packlight.search.contrasts import contrast

LOOKED_AT = 16
"""Samples that causes are sought on: enough for what is grave, at a small part of a search."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings as a project keeps them.

    Attributes:
        variant: id.
        found: the gravest first.
    """

    VERSION: ClassVar[int] = 1

    variant: str
    found: tuple[Finding, ...]


def explained(bench: Bench, outcome: Outcome, evaluations: Sequence[Evaluation]) -> Outcome:
    """An outcome with the contrast of the variant that it is about, causes, and lessons.

    Causes of lost quality are sought where it surely lost some, or where the runtime computes
    something else than the model says.

    Args:
        bench: where all was measured.
        outcome: of a search.
        evaluations: of every variant that was measured.
    """
    told = advice_for_results(outcome.variants[0], outcome.variants[1:], outcome.detectable)
    own = [one for one in evaluations if one.variant == subject_of(outcome)]
    besides = [found for found in (contrast(bench, one) for one in own) if found is not None]
    found, warnings = tuple[Finding, ...](), outcome.warnings
    for evaluation, beside in zip(own, besides, strict=False):
        if beside.drop.low > 0 or RUNTIME_DIFFERS in evaluation.labels:
            try:
                found = causes(bench, evaluation.variant)
            except (ModelError, TaskError) as error:
                warnings = (*warnings, f"Why it lost quality was not found: {error}")
    lessons = {one.lesson: one for one in (*advice_for_findings(found), *told)}
    return replace(
        outcome,
        warnings=warnings,
        contrasts=tuple(besides),
        findings=found,
        lessons=tuple(lessons.values()),
    )


def subject_of(outcome: Outcome) -> str:
    """Id of the variant that is chosen, or nearest to it; empty where there is none."""
    chosen = choice(outcome)
    return chosen.id if chosen else next((miss.nearest for miss in outcome.misses), "")


def causes(bench: Bench, key: str) -> tuple[Finding, ...]:
    """Why a variant lost quality, from the project or found now."""
    variant = bench.store.get("variant", key, Variant)
    assert variant is not None
    return bench.once("findings", variant, Findings, lambda: diagnosed(bench, variant)).found


def diagnosed(bench: Bench, variant: Variant) -> Findings:
    """Causes, without times."""
    files = (bench.store.path(one.file) for one in (bench.original, variant))
    before, after = (stored_size(path) for path in files)
    subject = Subject(
        reference=bench.opened.model,
        variant=bench.model(variant),
        task=bench.task,
        options=bench.options,
        limit=LOOKED_AT,
        seed=bench.seed,
        sizes=(before, after),
    )
    return Findings(variant.id, tuple(map(with_lessons, find_causes(subject))))


def inputs_of(bench: Bench, found: Sequence[Contrast]) -> Mapping[int, Steps]:
    """Inputs of the samples that changed most, by index."""
    indices = {one.sample for contrast in found for one in contrast.moved[:MOST_MOVED]}
    return {index: bench.task.samples[index] for index in sorted(indices)}
