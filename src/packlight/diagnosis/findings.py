"""From noise, time and bytes to findings with a severity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from packlight.diagnosis.evidence import Survey
from packlight.metrics.fidelity import decibels
from packlight.records import Finding, Measurement
from packlight.records.finding import Severity
from packlight.records.measurement import Unit

Rows = NDArray[np.float64]

SERIOUS, WARNING = 10.0, 20.0
"""dB that a cause alone leaves, below which it counts. At 20 dB the noise is a tenth of the signal:
8-bit models that lose a point or two of accuracy lie there; at 10 dB most decisions near a boundary
change. Source: measured on EfficientNet-Lite0, where 17 dB keep 93 % of the decisions and 8 dB
71 %."""

SILENT = 60.0
"""dB of a cause alone from which on it is not told: below what float16 itself adds."""

SMALL = 0.02
"""Share of the whole noise below which a cause is not told."""


def level(noise: float, signal: float) -> float:
    """Signal to noise in dB."""
    return float(decibels(np.array([signal, noise])))


def severity(decibel: float) -> Severity:
    """How much a level matters."""
    return "serious" if decibel < SERIOUS else "warning" if decibel < WARNING else "note"


def measured(value: float, unit: Unit = "1", n: int = 1) -> Measurement:
    """A number that was observed once, over all samples together."""
    return Measurement(float(value), unit, float(value), float(value), "measured", n)


def of_quality(
    survey: Survey,
    cause: str,
    sentence: str,
    next_step: str,
    *,
    cured: Rows,
    operators: Sequence[str],
    evidence: Mapping[str, Measurement],
) -> list[Finding]:
    """A finding on quality, where the cause makes more than a trifle of the noise.

    Args:
        survey: what was measured.
        cause: in a word or two.
        sentence: what was found.
        next_step: what to do.
        cured: energies of the reference's outputs and of the error without the cause (2,).
        operators: concerned, the worst first.
        evidence: what shows it; the levels with and without the cause are added.
    """
    signal, noise = survey.energies
    alone = max(noise - cured[1], 0.0)
    if not alone or alone < SMALL * noise:
        return []
    left = level(alone, signal)
    if left > SILENT:
        return []
    n = len(survey.places)
    shown = {
        "snr": measured(level(noise, signal), "dB", n),
        "snr_without_it": measured(level(cured[1], signal), "dB", n),
        "share_of_noise": measured(alone / noise, n=n),
        **evidence,
    }
    first = operators[0] if operators else ""
    found = Finding(
        cause=cause,
        severity=severity(left),
        harm="quality",
        sentence=sentence,
        operator=first,
        evidence=shown,
        next_step=next_step,
        source=survey.source(first),
        operators=tuple(operators),
        weight=math.sqrt(alone / signal) if signal else 1.0,
    )
    return [found]


def named(operators: Sequence[str], most: int = 3) -> str:
    """Operators in a sentence.

    >>> named(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    quoted = [f"'{name}'" for name in operators[:most]]
    left = len(operators) - most
    if left > 0:
        return f"{', '.join(quoted)} and {left} more"
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]
