"""Evaluations -> Comparison: deltas, flips, contrasts and fronts."""

from packlight.compare.compare import compare
from packlight.compare.conditions import differences
from packlight.compare.contrast import contrast
from packlight.compare.flips import flips
from packlight.compare.front import pareto_front
from packlight.compare.samples import check_format, write_samples

__all__ = [
    "check_format",
    "compare",
    "contrast",
    "differences",
    "flips",
    "pareto_front",
    "write_samples",
]
