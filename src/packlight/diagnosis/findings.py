"""Findings with a severity, from noise and its causes."""

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

SERIOUS = 10.0
WARNING = 20.0
"""SNR with a cause alone, in dB, below which it counts. At 20 dB noise is a tenth of the signal:
8-bit models that lose a point or two of accuracy lie there; at 10 dB most decisions near a boundary
change. Source: measured on EfficientNet-Lite0, where 17 dB keep 93 % of the decisions and 8 dB
71 %."""

SILENT = 60.0
"""SNR with a cause alone, in dB, from which on it is not reported: float16 itself adds more."""

SMALL = 0.02
"""Share of all noise below which a cause is not reported."""


def level(noise: float, signal: float) -> float:
    """Signal-to-noise ratio in dB."""
    return float(decibels(np.array([signal, noise])))


def severity(decibel: float) -> Severity:
    """Severity of a signal-to-noise ratio."""
    if decibel < SERIOUS:
        return "serious"
    return "warning" if decibel < WARNING else "note"


def measured(value: float, unit: Unit = "1", n: int = 1) -> Measurement:
    """A number that was measured once, over all samples together."""
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
    """Report a cause of lost quality, unless it makes very little of the noise.

    Args:
        survey: the measurements.
        cause: its name.
        sentence: the finding.
        next_step: the advice.
        cured: energies of the reference's outputs and of the error without the cause (2,).
        operators: the affected ones, the worst first.
        evidence: further numbers; the SNR with and without the cause is added.
    """
    signal, noise = survey.energies
    caused = max(noise - cured[1], 0.0)
    if not caused or caused < SMALL * noise:
        return []
    decibel = level(caused, signal)
    if decibel > SILENT:
        return []
    n = len(survey.samples)
    first = next(iter(operators), "")
    finding = Finding(
        cause=cause,
        severity=severity(decibel),
        harm="quality",
        sentence=sentence,
        operator=first,
        evidence={
            "snr": measured(level(noise, signal), "dB", n),
            "snr_without_it": measured(level(cured[1], signal), "dB", n),
            "share_of_noise": measured(caused / noise, n=n),
            **evidence,
        },
        next_step=next_step,
        source=survey.source(first),
        operators=tuple(operators),
        weight=math.sqrt(caused / signal) if signal else 1.0,
    )
    return [finding]


def named(operators: Sequence[str], most: int = 3) -> str:
    """List operators in a sentence.

    >>> named(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    quoted = [f"'{name}'" for name in operators[:most]]
    remaining = len(operators) - most
    if remaining > 0:
        return f"{', '.join(quoted)} and {remaining} more"
    if len(quoted) > 1:
        return " and ".join([", ".join(quoted[:-1]), quoted[-1]])
    return quoted[0]
