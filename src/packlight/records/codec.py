"""Canonical JSON for records: one text for one content, both ways, and digests of it.

Keys are sorted, there is no white space, numbers are finite, and every record that stands alone
carries ``"schema": "Name/version"``, so that a reader knows what it holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from packlight.errors import InputError

T = TypeVar("T")
Json = Any
"""What ``json.loads`` gives: dict, list, str, int, float, bool or None."""

ID_LENGTH = 12


INFINITIES = ("inf", "-inf")
"""Ends of intervals without a bound, as JSON holds them."""


def schema(record: type[Any] | object) -> str:
    """Name and version of a record's form, as ``Variant/1``."""
    cls = record if isinstance(record, type) else type(record)
    return f"{cls.__name__}/{getattr(cls, 'VERSION', 1)}"


def to_json(record: object) -> Json:
    """A record as plain JSON values, with its schema."""
    return {"schema": schema(record), **plain(record)}


def plain(value: object) -> Json:
    """Any value of a record as plain JSON values, without schemas."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        form = {field.name: plain(getattr(value, field.name)) for field in fields}
        kind = kind_of(type(value))
        if kind:
            return {"kind": kind, **form}
        return form
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON has no infinity; it is the end of an interval without a bound
    return value


def kind_of(cls: type[Any]) -> str:
    """The tag of a class that is a member of a union of dataclasses; empty for other classes.

    It is a class variable ``kind`` and no field, so that every value of the class has it.
    """
    kind = vars(cls).get("kind")
    is_field = any(field.name == "kind" for field in dataclasses.fields(cls))
    if is_field or not isinstance(kind, str):
        return ""
    return kind


def canonical(value: object) -> str:
    """The one JSON text of a record or of plain values.

    Raises:
        ValueError: a number is NaN.

    >>> canonical({"b": 1.0, "a": [True, None]})
    '{"a":[true,null],"b":1.0}'
    """
    form = to_json(value) if dataclasses.is_dataclass(value) else plain(value)
    return json.dumps(
        form, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: object) -> str:
    """An id of the content of a record or of plain values: 12 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:ID_LENGTH]


def from_json(cls: type[T], data: Json) -> T:
    """Read a record from what ``to_json`` gave.

    Raises:
        InputError: the data is of another schema or does not have the record's form.
    """
    if not isinstance(data, dict):
        title = getattr(cls, "TITLE", cls.__name__)
        raise InputError(f"a {title} is a JSON object; this is {type(data).__name__}")
    stated = data.get("schema", schema(cls))
    if stated != schema(cls):
        raise InputError(f"this packlight reads {schema(cls)}; the data says {stated}")
    return cast("T", read(cls, {key: item for key, item in data.items() if key != "schema"}))


def loads(cls: type[T], text: str) -> T:
    """Read a record from its JSON text.

    Raises:
        ValueError: the text is no JSON, or its numbers are not finite.
        InputError: it is not that of such a record, or nested too deeply.
    """
    return from_json(cls, parsed(text))


def parsed(text: str) -> Json:
    """What a JSON text of a record holds.

    Raises:
        ValueError: the text is no JSON, or its numbers are not finite.
        InputError: it is nested too deeply.
    """
    try:
        value: Json = json.loads(text, parse_constant=_refuse_constant)
        return value
    except RecursionError as error:
        raise InputError("the JSON is nested too deeply for a record") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no finite number")


def read(kind: Any, data: Json) -> Any:
    """Plain values as the type that an annotation names."""
    if kind is Any or kind is object:
        return data
    if dataclasses.is_dataclass(kind):
        return read_dataclass(cast("type[Any]", kind), data)
    reader = READERS.get(typing.get_origin(kind))
    if reader is not None:
        return reader(typing.get_args(kind), data)
    is_integer = isinstance(data, int) and not isinstance(data, bool)
    if kind is float and (is_integer or data in INFINITIES):
        return float(data)
    return expect(kind, data)


def _read_tuple(args: tuple[Any, ...], data: Json) -> tuple[Any, ...]:
    return tuple(read(args[0], item) for item in expect(list, data))


def _read_mapping(args: tuple[Any, ...], data: Json) -> dict[str, Any]:
    return {key: read(args[1], item) for key, item in expect(dict, data).items()}


def read_literal(args: tuple[Any, ...], data: Json) -> Json:
    """One of the values that an annotation lists."""
    if not any(data == value and type(data) is type(value) for value in args):
        raise InputError(f"one of {', '.join(map(str, args))} is expected; got {data!r}")
    return data


def expect(kind: type[T], data: Json) -> T:
    """The data itself, if it is of this type."""
    right = isinstance(data, kind) and (kind is bool or not isinstance(data, bool))
    if not right:
        raise InputError(f"{kind.__name__} is expected; got {data!r}")
    return cast("T", data)


def read_union(args: tuple[Any, ...], data: Json) -> Any:
    """The member of a union whose kind the data states, else the first that the data fits."""
    if data is None and type(None) in args:
        return None
    classes = [cast("type[Any]", member) for member in args if dataclasses.is_dataclass(member)]
    tagged = {kind_of(member): member for member in classes}
    if isinstance(data, dict) and any(tagged):
        kind = data.get("kind")
        if kind not in tagged:
            raise InputError(f"'kind' is one of {', '.join(tagged)}; got {kind!r}")
        return read(tagged[kind], data)
    for member in args:
        if member is not type(None):
            try:
                return read(member, data)
            except InputError:
                continue
    raise InputError(f"one of {', '.join(map(said, args))} is expected; got {data!r}")


KINDS: Mapping[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
"""Plain types in words."""


def said(kind: object) -> str:
    """A type in words, or as its name or annotation has it."""
    return KINDS.get(kind) or str(getattr(kind, "__name__", kind))


READERS: dict[object, Callable[[tuple[Any, ...], Json], Any]] = {
    types.UnionType: read_union,
    typing.Union: read_union,
    tuple: _read_tuple,
    Mapping: _read_mapping,
    typing.Literal: read_literal,
}
"""What reads an annotation with arguments, by its origin."""


def read_dataclass(cls: type[Any], data: Json) -> Any:
    """A dataclass from its fields; a field left out takes its default."""
    hints = types_of(cast("Hashable", cls))
    kind = kind_of(cls)
    if kind and isinstance(data, dict):
        if data.get("kind", kind) != kind:
            raise InputError(f"a {cls.__name__} has the kind '{kind}'; got {data['kind']!r}")
        data = {name: item for name, item in data.items() if name != "kind"}
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = set(expect(dict, data)) - names
    title = getattr(cls, "TITLE", cls.__name__.lower())
    if unknown:
        raise InputError(
            f"a {title} has no {', '.join(sorted(unknown))}; "
            f"it has {', '.join(field.name for field in dataclasses.fields(cls))}"
        )
    missing = [field.name for field in dataclasses.fields(cls) if lacks(field, data)]
    if missing:
        raise InputError(f"a {title} must have {', '.join(missing)}")
    values = {name: read(hints[name], data[name]) for name in names & set(data)}
    try:
        return cls(**values)
    except TypeError as error:
        raise InputError(f"{cls.__name__}: {error}") from error


def lacks(field: dataclasses.Field[Any], data: Mapping[str, Json]) -> bool:
    """Test for a missing field without a default."""
    none = dataclasses.MISSING
    needed = field.init and field.default is none and field.default_factory is none
    return needed and field.name not in data


@cache
def types_of(cls: Hashable) -> Mapping[str, Any]:
    """Types of a dataclass's fields by name, resolved once."""
    return typing.get_type_hints(cls)
