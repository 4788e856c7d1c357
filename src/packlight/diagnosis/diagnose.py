"""Find out why a variant lost quality, or did not get faster or smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from packlight.diagnosis.arithmetic import arithmetic
from packlight.diagnosis.evidence import Subject, Survey
from packlight.diagnosis.findings import level, measured
from packlight.diagnosis.latency import times
from packlight.diagnosis.operators import float16_range, other_operators
from packlight.diagnosis.overfit import calibration_overfit
from packlight.diagnosis.rounding import roundings
from packlight.diagnosis.sizes import sizes
from packlight.diagnosis.time_shares import time_shares
from packlight.model import with_seeds
from packlight.records import Finding, Findings
from packlight.records.diagnosis import DiagnosisSummary, TimeShare

DETECTORS: Mapping[str, Callable[[Survey], Iterator[Finding]]] = {
    "arithmetic of the runtime": arithmetic,
    "other operators": other_operators,
    "float16": float16_range,
    "rounding": roundings,
    "calibration samples": calibration_overfit,
    "bytes": sizes,
    "time": times,
}
"""Detectors by family of causes."""

RANKS = ("serious", "warning", "note")
HARMS = ("quality", "time", "size")
"""Order of harms at one severity: a wrong model need not be fast or small."""


def diagnose(subject: Subject) -> Findings:
    """Find the causes, the most serious first.

    Raises:
        ModelError: a model fails.
        TaskError: a sample does not fit.
    """
    same_draws = replace(
        subject,
        reference=with_seeds(subject.reference, 1),
        variant=with_seeds(subject.variant, 1),
    )
    survey = Survey(same_draws)
    findings = [finding for detector in DETECTORS.values() for finding in detector(survey)]
    return Findings(sorted(findings, key=_rank), _summary(survey))


def _summary(survey: Survey) -> DiagnosisSummary:
    """Costs of the variant and its signal to noise, and where its time goes."""
    subject = survey.subject
    signal, noise = survey.energies
    shares: tuple[TimeShare, ...] = ()
    if subject.profiles is not None:
        operators = survey.pair.matched.operators.items()
        matched = {str(after.name): str(before.name) for before, after in operators}
        shares = time_shares(*subject.profiles, matched)
    return DiagnosisSummary(
        variant=subject.variant.name,
        reference=subject.reference.name,
        size=subject.sizes[1],
        size_before=subject.sizes[0],
        latency_ratio=subject.ratio,
        snr=measured(level(noise, signal), "dB", len(survey.samples)),
        shares=shares,
    )


def _rank(finding: Finding) -> tuple[int, int, float]:
    harm = 0 if finding.severity == "note" else HARMS.index(finding.harm)
    return RANKS.index(finding.severity), harm, -finding.weight
