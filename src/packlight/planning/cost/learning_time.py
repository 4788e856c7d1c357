"""Time that learning takes on this machine, from the multiply-accumulates of a model."""

from __future__ import annotations

from packlight.runtime.isolation.limits import cores

SAMPLES = 64_000
"""Samples of 2,000 steps of 32, after which the loss of small networks falls slowly."""

GRADIENTS = 3
"""Arithmetic of a step, in runs of the model: one forwards, two backwards."""

RATES = (3e9, 12e9)
"""Multiply-accumulates that a core does in a second of learning, from and to: 3.3e9 for MiniLM on
texts of different lengths, 6.9e9 for EfficientNet-Lite0, 7.1e9 for a recognizer of text and 9.1e9
for ``zoo:fashion``, on an EPYC with AVX2, one core, PyTorch 2.13. Recurrent models spend their time
otherwise."""

MINUTE = 60.0
HOURS_FROM = 120.0
"""Minutes from which on hours are easier to read."""


def learning_time(macs: float) -> str:
    """Time of ``SAMPLES`` samples on all cores of this machine; empty where nothing is counted.

    Args:
        macs: multiply-accumulates of one run.
    """
    work = GRADIENTS * macs * SAMPLES / (cores() * MINUTE)
    if not work > 0:
        return ""
    return minutes_text(work / RATES[1], work / RATES[0])


def minutes_text(low: float, high: float) -> str:
    """An interval of minutes.

    >>> minutes_text(0.4, 1.2), minutes_text(2.2, 6.4), minutes_text(70, 210)
    ('a minute at most', '2 to 6 minutes', '1 to 4 hours')
    """
    if high > HOURS_FROM:
        return f"{max(1, round(low / MINUTE))} to {round(high / MINUTE)} hours"
    most = round(high)
    if most <= 1:
        return "a minute at most"
    return f"{max(1, round(low))} to {most} minutes"
