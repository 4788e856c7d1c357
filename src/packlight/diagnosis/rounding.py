"""Causes in the rounding of activations and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from packlight.diagnosis.causes import (
    Rows,
    Sites,
    channel_noise,
    per_channel_noise,
    role,
    stored_bits,
)
from packlight.diagnosis.evidence import Survey
from packlight.diagnosis.findings import WARNING, level, measured, named, of_quality
from packlight.records import Finding, Measurement

MOST_CURED = 6
"""Operators that are cured one by one to find the worst."""

DOMINANT = 0.5
"""Share of the noise from which on few sensitive operators are the cause."""


@dataclass(frozen=True, slots=True)
class CauseText:
    """Texts of a cause.

    Attributes:
        cause: its name.
        sentence: with ``{operators}``.
        next_step: the advice.
    """

    cause: str
    sentence: str
    next_step: str


TEXTS: Mapping[str, CauseText] = {
    "outliers": CauseText(
        "activation-outliers",
        "activations of {operators} have outliers: a few numbers or channels are many times larger "
        "than the others, which makes the grid too coarse for them",
        "move the scale into the weights (equalize), keep these activations in float or 16 bits "
        "(where=), or choose ranges by squared error (range=mse)",
    ),
    "channels": CauseText(
        "channel-imbalance",
        "channels of very different ranges share one scale at {operators}",
        "give each output channel of a weight its own scale (per=channel), and balance "
        "activations with the step equalize",
    ),
    "calibration": CauseText(
        "calibration-mismatch",
        "calibration ranges at {operators} do not fit these samples: the numbers exceed them, or "
        "fill only a small part of them",
        "calibrate on representative data: the same preprocessing, and at least 100 samples of "
        "all kinds",
    ),
    "clipped": CauseText(
        "clipped-ranges",
        "ranges at {operators} clip numbers that occur in the calibration data too",
        "use a wider range: min-max, a higher percentile, or least squared error (range=mse)",
    ),
    "pruned": CauseText(
        "pruned-weights",
        "nonzero weights of {operators} became zero",
        "prune less there (where=), or choose what to prune by its effect (sparse with samples)",
    ),
}  # fmt: skip
"""Texts of causes, by class of sites."""


def roundings(survey: Survey) -> Iterator[Finding]:
    """Find causes in rounded activations and weights, by curing each."""
    sites = Sites(survey)
    for key, text in TEXTS.items():
        if sites.any(key):
            cured = survey.cure(sites.cure(key))
            operators = _worst_first(survey, sites, cured, key)
            evidence = EVIDENCE.get(key, _no_numbers)
            yield from of_quality(
                survey,
                text.cause,
                text.sentence.format(operators=named(operators)),
                text.next_step,
                cured=cured,
                operators=operators,
                evidence=dict(evidence(sites)),
            )
    yield from _sensitive_or_short(survey, sites)


def _worst_first(survey: Survey, sites: Sites, cured: Rows, *causes: str) -> list[str]:
    """Operators under some causes, by the gain of the outputs when each alone is cured.

    The noisiest operators are cured, and only where there is much to gain.
    """
    operators = sites.operators(*causes)
    signal, noise = survey.energies
    if len(operators) == 1 or level(max(noise - cured[1], 0.0), signal) >= WARNING:
        return operators
    remaining = {
        name: survey.cure(sites.cure(*causes, operator=name))[1] for name in operators[:MOST_CURED]
    }
    return [*sorted(remaining, key=remaining.__getitem__), *operators[MOST_CURED:]]


Numbers = Iterator[tuple[str, Measurement]]


def _no_numbers(sites: Sites) -> Numbers:
    del sites
    yield from ()


def _outlier_numbers(sites: Sites) -> Numbers:
    spread = max(sites.roundings["outliers"], key=lambda rounding: rounding.noise).spread
    yield "largest_over_bulk", measured(spread.outliers, n=spread.count)
    yield "largest", measured(max(-spread.low, spread.high), n=spread.count)


def _channel_numbers(sites: Sites) -> Numbers:
    """Gain of a scale per channel, and ratios of ranges."""
    for weight in sites.weights["channels"][:1]:
        noise = channel_noise(weight.reference, weight.variant)
        yield "weight_snr", measured(level(noise, 1), "dB", weight.reference.size)
        yield "weight_snr_per_channel", measured(level(per_channel_noise(weight), 1), "dB")
        tops = np.abs(weight.reference).max(axis=1)
        yield "widest_over_median_channel", measured(_widest_over_median(tops))
    for rounding in sites.roundings["channels"][:1]:
        ratio = max(map(_widest_over_median, rounding.spread.tops.values()))
        yield "widest_over_median_activation", measured(ratio)


def _widest_over_median(tops: Rows) -> float:
    return float(tops.max() / max(np.median(tops), 1e-30))


def _range_numbers(key: str, sites: Sites) -> Numbers:
    """Share of clipped numbers, here and on calibration samples, and width of the grid."""
    worst = max(sites.roundings[key], key=lambda rounding: rounding.noise)
    count = worst.spread.count
    yield "numbers_clipped", measured(worst.spread.clipped / max(count, 1), n=count)
    yield "grid_over_range", measured(worst.spread.slack, n=count)
    if worst.calibrated is not None:
        clipped = worst.calibrated.clipped / max(worst.calibrated.count, 1)
        yield "numbers_clipped_in_calibration", measured(clipped, n=worst.calibrated.count)


EVIDENCE: Mapping[str, Callable[[Sites], Numbers]] = {
    "outliers": _outlier_numbers,
    "channels": _channel_numbers,
    "calibration": lambda sites: _range_numbers("calibration", sites),
    "clipped": lambda sites: _range_numbers("clipped", sites),
}
"""Further numbers, by class of sites."""


def _sensitive_or_short(survey: Survey, sites: Sites) -> Iterator[Finding]:
    """Report operators that are more sensitive than others on the same grid, or too few bits."""
    if sites.any("sensitive"):
        cured = survey.cure(sites.cure("sensitive"))
        if _is_sensitive(survey, sites, float(cured[1])):
            operators = _worst_first(survey, sites, cured, "sensitive")
            roles = {role(sites, rounding) for rounding in sites.roundings["sensitive"]}
            roles = roles or {"the first or last layer"}
            yield from of_quality(
                survey,
                "sensitive-operators",
                f"{named(operators)} ({', '.join(sorted(roles))}) make most of the noise on a grid "
                "that is fine enough for the other operators",
                "keep these operators in float or give them more bits, and compress the others: "
                "select them with where=",
                cured=cured,
                operators=operators,
                evidence={"operators": measured(len(operators))},
            )
            yield from short(survey, sites, "bits")
            return
    yield from short(survey, sites, "bits", "sensitive")


def _is_sensitive(survey: Survey, sites: Sites, remaining: float) -> bool:
    noise = float(survey.energies[1])
    sensitive = len(sites.roundings["sensitive"]) + len(sites.weights["sensitive"])
    total = sum(map(len, sites.roundings.values())) + sum(map(len, sites.weights.values()))
    share = (noise - remaining) / noise if noise else 0.0
    return share >= DOMINANT and share > min(2 * sensitive / max(total, 1), 1 - DOMINANT / 2)


def short(survey: Survey, sites: Sites, *causes: str) -> Iterator[Finding]:
    """Report too few bits, at one layer or everywhere."""
    if not sites.any(*causes):
        return
    cured = survey.cure(sites.cure(*causes))
    operators = _worst_first(survey, sites, cured, *causes)
    bits: dict[str, float] = {}
    for cause in causes:
        bits |= {weight.operator: stored_bits(weight) for weight in sites.weights[cause]}
    for cause in causes:
        for rounding in sites.roundings[cause]:
            if rounding.grid is not None:
                bits[rounding.operator] = rounding.grid.bits
    evidence = {}
    if operators[0] in bits:
        evidence["bits"] = measured(bits[operators[0]])
    yield from of_quality(
        survey,
        "not-enough-bits",
        f"{named(operators)} have too few bits for their numbers",
        "give the worst of these more bits, or let samples choose the bit widths (weights or "
        "palette with mixed=); rounding=gptq loses less at the same width",
        cured=cured,
        operators=operators,
        evidence=evidence,
    )
