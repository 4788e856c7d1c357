"""What the texts mean that name models."""

from __future__ import annotations

from pathlib import Path

ZOO = "zoo:"
"""What names of models that came with packlight begin with."""


def is_code(text: str) -> bool:
    """Whether a text names a function, as FILE.py:FUNCTION or module:function, not a file."""
    place, _, name = text.rpartition(":")
    return bool(place) and name.isidentifier() and place != "zoo" and not Path(text).exists()
