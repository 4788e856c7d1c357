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
    held = tomllib.loads(DATA.read_text("utf-8"))["lessons"]
    return tuple(from_json(Lesson, entry) for entry in held)


def lessons_on(word: str) -> tuple[Lesson, ...]:
    """Lessons with a word in their id, topics, causes, text or source.

    Raises:
        InputError: there is none.
    """
    wanted = word.strip().lower()
    found = tuple(one for one in lessons() if wanted in words_of(one))
    if not found:
        topics = sorted({topic for one in lessons() for topic in one.topics})
        raise InputError(f"no lesson speaks of '{word}'; topics are {', '.join(topics)}")
    return found


def words_of(one: Lesson) -> str:
    """All that a lesson is found by."""
    return " ".join((one.id, *one.topics, *one.causes, one.text, one.source)).lower()
