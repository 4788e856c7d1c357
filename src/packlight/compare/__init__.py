"""Evaluations -> Comparison: deltas, flips and fronts."""

from packlight.compare.compare import compare
from packlight.compare.flips import flips
from packlight.compare.front import pareto_front

__all__ = ["compare", "flips", "pareto_front"]
