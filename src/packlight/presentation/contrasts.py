"""Sentences about contrasts, findings and lessons, shared by terminal and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packlight.presentation.numbers import detectable_drop, show_drop, show_named

if TYPE_CHECKING:
    from packlight.records import Advice, Contrast, Measurement, SourceLine

SURE = 0.001
"""p-values below are not told apart."""

RATES = {
    "lost": "right before, wrong now",
    "won": "wrong before, right now",
    "changed": "wrong before and now, another decision",
    "churn": "changed in any way",
    "worse": "samples that got worse",
    "better": "samples that got better",
}
TRUST = {
    "confidence": "confidence",
    "calibration_error": "calibration error",
    "nll": "negative log likelihood",
    "brier": "Brier score",
}
SPREAD = {
    "p50": "median sample",
    "p90": "90 % of samples at least this good",
    "p99": "99 % of samples at least this good",
    "most": "worst sample",
}
NEAR = {
    "rank_agreement": "rank correlation of neighbors",
    "same_nearest": "nearest neighbor kept",
}


SLICES = "Discovered on one half of the samples, measured on the other half."


def headline(contrast: Contrast) -> str:
    """Drop with its significance, and the minimum detectable drop."""
    drop = show_drop(contrast.metric, contrast.drop)
    change = f"{contrast.metric} drop: {drop}, {p_of(contrast.p)} ({contrast.test})"
    sentences = f"{change}, {contrast.n:,} samples."
    if not contrast.detectable:
        return sentences
    return f"{sentences} {detectable_drop(contrast.metric, contrast.detectable)}"


def p_of(p: float) -> str:
    """A p-value with two digits.

    >>> p_of(0.0349), p_of(1e-9)
    ('p = 0.035', 'p < 0.001')
    """
    if p < SURE:
        return f"p < {SURE}"
    return f"p = {p:.2g}"


def bare_p(p: float) -> str:
    """A p-value for a table."""
    return p_of(p).removeprefix("p ").removeprefix("= ").replace(" ", "")


def balance(contrast: Contrast) -> str:
    """Sentence about the test for equally many worse and better samples."""
    return f"Worse against better: {p_of(contrast.rates_p)} ({contrast.rates_test})."


def worst_sentence(contrast: Contrast) -> str:
    """Sentence about the worst group; its interval accounts for the selection."""
    worst = contrast.worst
    assert worst is not None
    judged = sum(group.standing != "too small" for group in contrast.groups)
    return (
        f"Worst group: {worst.column} = {worst.name}, drop {show_drop(contrast.metric, worst.drop)}"
        f"; the interval accounts for selecting the worst of {judged} groups."
    )


def show_evidence(name: str, m: Measurement) -> str:
    """A number of evidence: counts plain, shares as percentages, others in their unit."""
    if m.unit != "1" or name.startswith(SHARES) or name.endswith("_ratio"):
        return show_named(name, m)
    return f"{m.value:.4g}"


SHARES = ("share", "numbers_cut", "sums_that")


def place(source: SourceLine) -> str:
    """Line and module."""
    if not source.file:
        return source.module
    return f"{source.file}:{source.line} {source.module}".rstrip()


def called_for(advice: Advice) -> str:
    """Reason for showing a lesson, with its number."""
    if advice.number is None:
        return advice.because
    name = RATIOS.get(advice.lesson, "drop")
    return f"{advice.because} ({show_named(name, advice.number)})"


RATIOS = dict.fromkeys(("fallbacks", "size-is-not-speed"), "latency_ratio")
"""Lessons whose number is a latency ratio."""
