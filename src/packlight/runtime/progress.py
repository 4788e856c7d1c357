"""Reports of the progress of a long job."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the current job, steps done and steps in all."""


def silent(what: str, done: int, total: int) -> None:
    """Discard reports of progress."""
    del what, done, total
