"""Who is told how far a long job has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""(what is done, steps finished, steps in all)."""


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
    del what, done, total
