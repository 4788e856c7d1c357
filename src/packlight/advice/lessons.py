"""The lessons, from their data file."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from packlight.errors import InputError
from packlight.records import Lesson, from_json

DATA = Path(__file__).with_name("lessons.toml")


@cache
def lessons() -> tuple[Lesson, ...]:
    """All lessons, in the order of the file."""
    entries = tomllib.loads(DATA.read_text("utf-8"))["lessons"]
    return tuple(from_json(Lesson, entry) for entry in entries)


def lessons_on(word: str) -> tuple[Lesson, ...]:
    """Lessons with a word in their id, topics, causes, text or source.

    Raises:
        InputError: there is none.
    """
    text = word.strip().lower()
    matches = tuple(lesson for lesson in lessons() if text in _searchable_text(lesson))
    if not matches:
        topics = sorted({topic for lesson in lessons() for topic in lesson.topics})
        raise InputError(f"no lesson speaks of '{word}'; topics are {', '.join(topics)}")
    return matches


def _searchable_text(lesson: Lesson) -> str:
    fields = (lesson.id, *lesson.topics, *lesson.causes, lesson.text, lesson.source)
    return " ".join(fields).lower()
