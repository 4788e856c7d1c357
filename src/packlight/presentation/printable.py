"""Text that controls no terminal: names come from strangers' files."""

from __future__ import annotations

import unicodedata

SPACE = "Zs"
"""Category of spaces of any width, of which Python counts only one as printable."""


def printable(text: str) -> str:
    """Write out what controls a terminal, breaks a line or reorders the text around it.

    >>> printable("a\\x1b[2J\\u202eb\\n")
    'a\\\\x1b[2J\\\\u202eb\\\\n'
    """
    if text.isprintable():
        return text
    return "".join(map(_printable_mark, text))


def _printable_mark(mark: str) -> str:
    if mark.isprintable() or unicodedata.category(mark) == SPACE:
        return mark
    return mark.encode("unicode_escape").decode()
