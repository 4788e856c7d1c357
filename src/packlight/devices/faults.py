"""Faults in the plain values of a record, field by field."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from packlight.errors import InputError
from packlight.records.codec import read


def first_fault(record: type, form: Mapping[str, object]) -> str:
    """A sentence about the first invalid field; empty where there is none."""
    return next(field_faults(record, {k: v for k, v in form.items() if k != "schema"}, ""), "")


def field_faults(record: Any, form: Mapping[str, object], path: str) -> Iterator[str]:
    """Sentences about the invalid fields of one record."""
    hints = typing.get_type_hints(record)
    fields = {field.name: field for field in dataclasses.fields(record)}
    for name in form:
        if name not in fields:
            yield f"there is no field '{field_path(path, name)}'; known are {', '.join(fields)}"
    for name, field in fields.items():
        if name in form:
            yield from value_faults(hints[name], form[name], field_path(path, name))
        elif field.default is field.default_factory is dataclasses.MISSING:
            yield f"'{field_path(path, name)}' is missing"


def value_faults(kind: Any, value: object, path: str) -> Iterator[str]:
    """Sentences about one value of a type, each about the innermost invalid part."""
    if typing.get_origin(kind) is types.UnionType:  # of one type and None
        kind = next(entry for entry in typing.get_args(kind) if entry is not type(None))
        if value is None:
            return
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        yield from field_faults(kind, value, path)
    elif typing.get_origin(kind) is Mapping and isinstance(value, Mapping):
        for key, item in value.items():
            yield from value_faults(typing.get_args(kind)[1], item, field_path(path, str(key)))
    else:
        yield from codec_faults(kind, value, path)


def codec_faults(kind: Any, value: object, path: str) -> Iterator[str]:
    """The error of the reader of records for one value."""
    try:
        read(kind, value)
    except InputError as error:
        yield f"'{path}': {error}"


def field_path(path: str, name: str) -> str:
    """The path of a nested field.

    >>> joined("", "ram"), joined("units.cpu", "cores")
    ('ram', 'units.cpu.cores')
    """
    return f"{path}.{name}" if path else name
