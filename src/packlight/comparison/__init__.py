"""Evaluations -> Comparison: deltas, flips, contrasts and fronts."""

from packlight.comparison.compare import compare, differences
from packlight.comparison.contrast import contrast
from packlight.comparison.flips import flips
from packlight.comparison.pareto import pareto_front
from packlight.comparison.samples import check_format, write_samples

__all__ = [
    "check_format",
    "compare",
    "contrast",
    "differences",
    "flips",
    "pareto_front",
    "write_samples",
]
