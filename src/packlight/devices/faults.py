"""Where the plain values of a record do not have its form, field by field."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from packlight.errors import InputError
from packlight.records.codec import read


def first_fault(record: type, form: Mapping[str, object]) -> str:
    """The first field whose value is not of its type, as a sentence; empty where there is none."""
    return next(field_faults(record, {k: v for k, v in form.items() if k != "schema"}, ""), "")


def field_faults(record: Any, form: Mapping[str, object], path: str) -> Iterator[str]:
    """What is wrong with the fields of one record."""
    hints = typing.get_type_hints(record)
    known = {field.name: field for field in dataclasses.fields(record)}
    for name in form:
        if name not in known:
            yield f"there is no field '{joined(path, name)}'; known are {', '.join(known)}"
    for name, field in known.items():
        if name in form:
            yield from value_faults(hints[name], form[name], joined(path, name))
        elif field.default is field.default_factory is dataclasses.MISSING:
            yield f"'{joined(path, name)}' is missing"


def value_faults(kind: Any, value: object, path: str) -> Iterator[str]:
    """What is wrong with one value of a type: of the innermost part that is wrong."""
    if typing.get_origin(kind) is types.UnionType:  # of one type and None
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
        if value is None:
            return
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        yield from field_faults(kind, value, path)
    elif typing.get_origin(kind) is Mapping and isinstance(value, Mapping):
        for key, item in value.items():
            yield from value_faults(typing.get_args(kind)[1], item, joined(path, str(key)))
    else:
        yield from reading_faults(kind, value, path)


def reading_faults(kind: Any, value: object, path: str) -> Iterator[str]:
    """What the reader of records says of one value."""
    try:
        read(kind, value)
    except InputError as error:
        yield f"'{path}': {error}"


def joined(path: str, name: str) -> str:
    """The path of a field within another.

    >>> joined("", "ram"), joined("units.cpu", "cores")
    ('ram', 'units.cpu.cores')
    """
    return f"{path}.{name}" if path else name
