"""Lessons of practitioners, and the rules that attach them to plans, results and findings."""

from packlight.advice.lessons import lessons, lessons_on
from packlight.advice.rules import for_finding, for_findings, for_plan, for_results

__all__ = ["for_finding", "for_findings", "for_plan", "for_results", "lessons", "lessons_on"]
