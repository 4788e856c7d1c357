"""Plain values as TOML, which the standard library reads and does not write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

BARE = re.compile(r"[A-Za-z0-9_-]+")
WITHIN = 2
"""Length of a table's path from which a table without others in it stands on one line."""


def toml_text(table: Mapping[str, object]) -> str:
    """A table of texts, numbers, lists of them, and tables, as TOML; None is left out.

    >>> print(toml_text({"name": "a", "gap": None, "peak": {"int8": 2.0}}))
    name = "a"
    <BLANKLINE>
    [peak]
    int8 = 2.0
    <BLANKLINE>
    """
    return "\n".join(lines(table, ())).lstrip("\n") + "\n"


def lines(table: Mapping[str, object], path: tuple[str, ...]) -> Iterator[str]:
    """The lines of one table, those of the tables in it last."""
    later: list[tuple[str, Mapping[str, object]]] = []
    for key, value in table.items():
        if isinstance(value, Mapping) and not on_one_line(value, path):
            later.append((key, value))
        elif value is not None:
            yield f"{key_text(key)} = {value_text(value)}"
    for key, inner in later:
        below = (*path, key)
        yield f"\n[{'.'.join(map(key_text, below))}]"
        yield from lines(inner, below)


def on_one_line(table: Mapping[str, object], path: tuple[str, ...]) -> bool:
    """Whether a table is small and deep enough to be written within its line."""
    return len(path) >= WITHIN and not any(isinstance(item, Mapping) for item in table.values())


def key_text(key: str) -> str:
    """A key, quoted where it must be."""
    return key if BARE.fullmatch(key) else string_text(key)


def value_text(value: object) -> str:
    """One value on one line."""
    if isinstance(value, Mapping):
        known = {key: item for key, item in value.items() if item is not None}
        inner = ", ".join(f"{key_text(key)} = {value_text(item)}" for key, item in known.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return string_text(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def string_text(text: str) -> str:
    """A text as a basic string: as JSON writes it, and without the one control that JSON lets be.

    >>> string_text('a "b"')
    '"a \\\\"b\\\\""'
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
