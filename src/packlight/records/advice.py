"""Lessons of practitioners, and the reason for showing one with a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from packlight.records.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson of practitioners.

    Attributes:
        id: in a word or two.
        text: in our own words.
        source: whose knowledge it is.
        topics: words to find it by.
        causes: findings that it belongs to.
    """

    VERSION: ClassVar[int] = 1

    id: str
    text: str
    source: str
    topics: tuple[str, ...]
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """A lesson shown with a plan or a result.

    Attributes:
        lesson: its id.
        text: of the lesson.
        source: of the lesson.
        because: what in the result called for it, in words.
        number: that called for it; None where none is measured.
    """

    lesson: str
    text: str
    source: str
    because: str
    number: Measurement | None = None
