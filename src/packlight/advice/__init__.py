"""Lessons of practitioners, and the rules that attach them to plans, results and findings."""

from packlight.advice.lessons import lessons, lessons_on
from packlight.advice.rules import (
    advice_for_findings,
    advice_for_plan,
    advice_for_results,
    with_lessons,
)

__all__ = [
    "advice_for_findings",
    "advice_for_plan",
    "advice_for_results",
    "lessons",
    "lessons_on",
    "with_lessons",
]
