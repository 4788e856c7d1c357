"""Names of functions in code, as users write them in place of a file."""

from __future__ import annotations

from pathlib import Path


def is_code(text: str) -> bool:
    """Tell if text names a function, as FILE.py:FUNCTION or module:function, and not a file."""
    module, _, name = text.rpartition(":")
    return bool(module) and name.isidentifier() and module != "zoo" and not Path(text).exists()
