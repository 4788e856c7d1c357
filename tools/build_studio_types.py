"""Write the front end's types from the records of the studio's pages.

Run it after a change of ``packlight.studio.pages``:

    python tools/build_studio_types.py
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path

from packlight.studio import pages

TARGET = Path(__file__).parents[1] / "src" / "packlight" / "studio" / "web" / "records.d.ts"
HEAD = "/** Records of the server, written by tools/build_studio_types.py: do not edit. */\n"
PLAIN: Mapping[object, str] = {
    str: "string", int: "number", float: "number", bool: "boolean", object: "unknown",
    type(None): "null",
}  # fmt: skip


def type_text(kind: object) -> str:
    """The TypeScript type of an annotation."""
    if kind in PLAIN:
        return PLAIN[kind]
    if dataclasses.is_dataclass(kind):
        return str(getattr(kind, "__name__", kind))
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is tuple:
        item = type_text(arguments[0])
        return f"({item})[]" if " " in item else f"{item}[]"
    if origin is Mapping:
        return f"Record<string, {type_text(arguments[1])}>"
    if origin is typing.Literal:
        return " | ".join(f'"{value}"' for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " | ".join(type_text(argument) for argument in arguments)
    raise TypeError(f"no type of the front end stands for {kind!r}")


def interface(record: type) -> str:
    """The TypeScript interface of a record."""
    hints = typing.get_type_hints(record)
    lines = [
        f"  {field.name}: {type_text(hints[field.name])};" for field in dataclasses.fields(record)
    ]
    return "\n".join([f"export interface {record.__name__} {{", *lines, "}\n"])


def text() -> str:
    """The whole file."""
    records = [getattr(pages, name) for name in sorted(pages.__all__)]
    return "\n".join([HEAD, *map(interface, records)])


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
    print(f"{TARGET.name}: {len(pages.__all__)} records")
