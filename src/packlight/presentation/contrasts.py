"""Contrasts and findings in words, shared by terminal and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packlight.presentation.numbers import show, show_named, show_share

if TYPE_CHECKING:
    from packlight.records import Advice, Contrast, Measurement, SourceLine

SURE = 0.001
"""p below which digits say nothing more."""

RATES = {
    "lost": "right before, wrong now",
    "won": "wrong before, right now",
    "changed": "wrong before and now, differently",
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


def headline(found: Contrast) -> str:
    """Drop with its significance, and the minimum detectable drop."""
    return (
        f"{found.metric} drop {show(found.drop)}, {p_of(found.p)} ({found.test}), on {found.n:,} "
        f"samples. Minimum detectable drop (80 % power): {show_share(found.detectable)}."
    )


def p_of(p: float, name: str = "p") -> str:
    """A probability with two digits.

    >>> p_of(0.0349), p_of(1e-9)
    ('p = 0.035', 'p < 0.001')
    """
    return f"{name} < {SURE}" if p < SURE else f"{name} = {p:.2g}"


def balance(found: Contrast) -> str:
    """Sentence about the test for equally many worse and better samples."""
    return f"Test for equally many worse and better: {p_of(found.rates_p)} ({found.rates_test})."


def bare_p(p: float) -> str:
    """A probability for a table."""
    return f"<{SURE}" if p < SURE else f"{p:.2g}"


def worst_sentence(found: Contrast) -> str:
    """Sentence about the worst group; its interval accounts for the selection."""
    assert found.worst is not None
    judged = sum(one.standing != "too small" for one in found.groups)
    return (
        f"Worst group: {found.worst.column} = {found.worst.name}, drop {show(found.worst.drop)}; "
        f"the interval accounts for selecting the worst of {judged}."
    )


def show_evidence(name: str, m: Measurement) -> str:
    """A number of evidence: counts plain, shares as percentages, the rest in its unit."""
    counts = m.unit == "1" and not name.startswith(SHARES)
    plain = counts and not name.endswith("_ratio")
    return f"{m.value:.4g}" if plain else show_named(name, m)


SHARES = ("share", "numbers_cut", "sums_that")


def place(source: SourceLine) -> str:
    """Line and module."""
    line = f"{source.file}:{source.line}" if source.file else ""
    return " ".join(part for part in (line, source.module) if part)


def called_for(one: Advice) -> str:
    """Why a lesson is told, with the number."""
    name = "latency_ratio" if one.lesson in RATIOS else "drop"
    number = "" if one.number is None else f" ({show_named(name, one.number)})"
    return f"{one.because}{number}"


RATIOS = ("fallbacks", "size-is-not-speed")
"""Lessons that a ratio of times calls for."""
