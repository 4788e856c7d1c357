"""Causes that lie in how activations and weights are rounded."""

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

TRIED = 6
"""Operators that are cured one by one to find the worst."""

MOST = 0.5
"""Share of the noise from which on few sensitive operators are the cause."""


@dataclass(frozen=True, slots=True)
class Telling:
    """How a cause is told.

    Attributes:
        cause: its name.
        sentence: with ``{operators}``.
        next_step: what to do.
    """

    cause: str
    sentence: str
    next_step: str


TELLINGS: Mapping[str, Telling] = {
    "outliers": Telling(
        "activation-outliers",
        "a few numbers or channels behind {operators} are many times larger than the rest, and the "
        "grid that holds them is too coarse for the others",
        "move the scale into the weights (equalize), keep these activations in float or 16 bits "
        "(where=), or choose ranges by squared error (range=mse)",
    ),
    "channels": Telling(
        "channel-imbalance",
        "channels of very different ranges share one scale at {operators}",
        "give each output channel of a weight its own scale (per=channel), and even out "
        "activations with the step equalize",
    ),
    "calibration": Telling(
        "calibration-mismatch",
        "ranges at {operators} were found on data unlike the samples here: the numbers leave them, "
        "or fill only a small part of them",
        "calibrate on data like that of use: the same preprocessing, and 100 samples or more of "
        "every kind",
    ),
    "clipped": Telling(
        "clipped-ranges",
        "ranges at {operators} cut off numbers that occur in the calibration data too",
        "use a wider range: min-max, a higher percentile, or least squared error (range=mse)",
    ),
    "pruned": Telling(
        "pruned-weights",
        "weights of {operators} became zero that were not",
        "prune less there (where=), or choose what to prune by its effect (sparse with samples)",
    ),
}  # fmt: skip
"""Causes of one kind of site, by how sites are classed."""


def roundings(survey: Survey) -> Iterator[Finding]:
    """Findings on rounded activations and weights, each by taking its sites away."""
    sites = Sites(survey)
    for key, telling in TELLINGS.items():
        if sites.any(key):
            cured = survey.cure(sites.cure(key))
            operators = worst_first(survey, sites, cured, key)
            yield from of_quality(
                survey,
                telling.cause,
                telling.sentence.format(operators=named(operators)),
                telling.next_step,
                cured=cured,
                operators=operators,
                evidence=dict(EVIDENCE.get(key, nothing)(sites)),
            )
    yield from sensitive_or_short(survey, sites)


def worst_first(survey: Survey, sites: Sites, cured: Rows, *causes: str) -> list[str]:
    """Operators under some causes, by what the outputs gain when each alone is cured.

    Tried for those that are noisiest themselves, and only where there is much to gain.
    """
    operators = sites.operators(*causes)
    signal, noise = survey.energies
    if len(operators) == 1 or level(max(noise - cured[1], 0.0), signal) >= WARNING:
        return operators
    left = {name: survey.cure(sites.cure_at(name, *causes))[1] for name in operators[:TRIED]}
    return [*sorted(left, key=left.__getitem__), *operators[TRIED:]]


Numbers = Iterator[tuple[str, Measurement]]


def nothing(sites: Sites) -> Numbers:
    """No further numbers."""
    del sites
    yield from ()


def outlier_numbers(sites: Sites) -> Numbers:
    """How far outliers lie out."""
    worst = max(sites.roundings["outliers"], key=lambda one: one.noise)
    yield "largest_over_rest", measured(worst.seen.outliers, n=worst.seen.count)
    yield "largest", measured(max(-worst.seen.low, worst.seen.high), n=worst.seen.count)


def channel_numbers(sites: Sites) -> Numbers:
    """What a scale for each channel would change; how far the ranges lie apart."""
    for one in sites.weights["channels"][:1]:
        own = channel_noise(one.wanted, one.found)
        yield "weight_snr", measured(level(own, 1), "dB", one.wanted.size)
        yield "weight_snr_per_channel", measured(level(per_channel_noise(one), 1), "dB")
        tops = np.abs(one.wanted).max(axis=1)
        yield "widest_over_median_channel", measured(tops.max() / max(np.median(tops), 1e-30))
    for rounding in sites.roundings["channels"][:1]:
        apart = max(
            tops.max() / max(np.median(tops), 1e-30) for tops in rounding.seen.tops.values()
        )
        yield "widest_over_median_activation", measured(apart)


def range_numbers(key: str, sites: Sites) -> Numbers:
    """What is cut off, here and on calibration samples, and how wide the grid is."""
    worst = max(sites.roundings[key], key=lambda one: one.noise)
    count = worst.seen.count
    yield "numbers_cut_off", measured(worst.seen.clipped / max(count, 1), n=count)
    yield "grid_over_range", measured(worst.seen.slack, n=count)
    if worst.calibrated is not None:
        cut = worst.calibrated.clipped / max(worst.calibrated.count, 1)
        yield "numbers_cut_off_in_calibration", measured(cut, n=worst.calibrated.count)


EVIDENCE: Mapping[str, Callable[[Sites], Numbers]] = {
    "outliers": outlier_numbers,
    "channels": channel_numbers,
    "calibration": lambda sites: range_numbers("calibration", sites),
    "clipped": lambda sites: range_numbers("clipped", sites),
}
"""Further numbers by how sites are classed."""


def sensitive_or_short(survey: Survey, sites: Sites) -> Iterator[Finding]:
    """What is left: operators that suffer more than others from the same grid, or too few bits."""
    if sites.any("sensitive"):
        cured = survey.cure(sites.cure("sensitive"))
        if is_sensitive(survey, sites, float(cured[1])):
            operators = worst_first(survey, sites, cured, "sensitive")
            roles = {role(sites, one) for one in sites.roundings["sensitive"]} or {
                "the first or last layer"
            }
            yield from of_quality(
                survey,
                "sensitive-operators",
                f"{named(operators)} ({', '.join(sorted(roles))}) take most of the damage from a "
                "grid that the rest of the model bears",
                "keep these operators in float or give them more bits, and compress the rest: name "
                "the rest with where=",
                cured=cured,
                operators=operators,
                evidence={"operators": measured(len(operators))},
            )
            yield from short(survey, sites, "bits")
            return
    yield from short(survey, sites, "bits", "sensitive")


def is_sensitive(survey: Survey, sites: Sites, left: float) -> bool:
    """Whether sensitive operators make most of the noise, and more than their number explains."""
    noise = float(survey.energies[1])
    few = len(sites.roundings["sensitive"]) + len(sites.weights["sensitive"])
    kinds = (sites.roundings, sites.weights)
    every = sum(len(found) for by_cause in kinds for found in by_cause.values())
    share = (noise - left) / noise if noise else 0.0
    return share >= MOST and share > min(2 * few / max(every, 1), 1 - MOST / 2)


def short(survey: Survey, sites: Sites, *causes: str) -> Iterator[Finding]:
    """Too few bits, at one layer or everywhere."""
    if not sites.any(*causes):
        return
    cured = survey.cure(sites.cure(*causes))
    operators = worst_first(survey, sites, cured, *causes)
    bits = {one.operator: stored_bits(one) for cause in causes for one in sites.weights[cause]} | {
        one.operator: one.grid.bits
        for cause in causes
        for one in sites.roundings[cause]
        if one.grid is not None
    }
    evidence = {"bits": measured(bits[operators[0]])} if operators[0] in bits else {}
    yield from of_quality(
        survey,
        "not-enough-bits",
        f"the grids of {named(operators)} are too coarse for what they hold",
        "give the worst of these more bits, or let samples choose the widths (weights or palette "
        "with mixed=); rounding=gptq loses less at the same width",
        cured=cured,
        operators=operators,
        evidence=evidence,
    )
