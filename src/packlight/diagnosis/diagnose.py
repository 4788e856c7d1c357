"""Find out why a variant lost quality, or did not get faster or smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from packlight.diagnosis.arithmetic import arithmetic
from packlight.diagnosis.evidence import Subject, Survey
from packlight.diagnosis.latency import times
from packlight.diagnosis.operators import half, other_operators
from packlight.diagnosis.rounding import roundings
from packlight.diagnosis.sizes import sizes
from packlight.records import Finding

DETECTORS: Mapping[str, Callable[[Survey], Iterator[Finding]]] = {
    "arithmetic of the runtime": arithmetic,
    "other operators": other_operators,
    "float16": half,
    "rounding": roundings,
    "bytes": sizes,
    "time": times,
}
"""What looks for causes, by family."""

RANKS = ("serious", "warning", "note")
HARMS = ("quality", "time", "size")
"""In the order that they count at one severity: a model that is wrong need not be fast or small."""


def diagnose(subject: Subject) -> tuple[Finding, ...]:
    """Every cause that was found, the gravest first.

    Raises:
        ModelError: a model fails.
        TaskError: a sample does not fit.
    """
    survey = Survey(subject)
    found = [finding for detector in DETECTORS.values() for finding in detector(survey)]
    return tuple(sorted(found, key=gravity))


def gravity(one: Finding) -> tuple[int, int, float]:
    """What findings are ranked by; notes by their weight alone."""
    harm = 0 if one.severity == "note" else HARMS.index(one.harm)
    return RANKS.index(one.severity), harm, -one.weight
