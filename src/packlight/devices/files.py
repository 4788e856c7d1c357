"""Read and write devices as TOML or JSON, with a sentence for each fault."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from packlight.disk import replacing
from packlight.errors import DeviceError, InputError
from packlight.records.codec import from_json, read, to_json
from packlight.records.device import Device

DATA = Path(__file__).with_name("data")
PARTS = "parts"
"""Key of a file that names the files of ``data/parts`` that it includes."""
FORMS: Mapping[str, Callable[[str], object]] = {".toml": tomllib.loads, ".json": json.loads}
"""Parser by suffix of a file."""


def read_device(path: Path) -> Device:
    """Read the device that a file describes.

    Raises:
        DeviceError: the file cannot be read, or its description is invalid.
    """
    form = _merge_parts(read_form(path), path)
    try:
        return from_json(Device, form)
    except DeviceError as error:
        raise DeviceError(f"the device in '{path}' does not hold: {error}") from error
    except InputError as error:
        fault = _first_fault(Device, form) or str(error)
        raise DeviceError(f"the device in '{path}' does not hold: {fault}") from error


def write_device(device: Device, path: Path) -> None:
    """Write a device as TOML or JSON, by the suffix of the file's name.

    Raises:
        InputError: the suffix is another, or the file cannot be written.
    """
    if path.suffix not in FORMS:
        raise DeviceError(f"a device is written to a .toml or .json file; got '{path}'")
    text = _device_json(device)
    if path.suffix == ".toml":
        text = device_toml(device)
    with replacing(path) as file:
        file.write(text.encode())


def device_toml(device: Device) -> str:
    """A device as TOML that ``read_device`` reads, without reference to shared parts."""
    return tomli_w.dumps(without_none(to_json(device)))


def without_none(read_form: Mapping[str, object]) -> dict[str, object]:
    """A table without unknown values, which TOML cannot write."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in read_form.items()
        if value is not None
    }


def _device_json(device: Device) -> str:
    return json.dumps(to_json(device), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_form(path: Path) -> dict[str, object]:
    """Read a file as plain values.

    Raises:
        DeviceError: it cannot be read, or is no table.
    """
    try:
        form = FORMS[path.suffix](path.read_text("utf-8"))
    except OSError as error:
        raise DeviceError(f"the device '{path}' cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        kind = path.suffix[1:].upper()
        raise DeviceError(
            f"the device '{path}' must be {kind}; reading it gives: {error}"
        ) from error
    if not isinstance(form, dict):
        raise DeviceError(f"a device is a table of fields; '{path}' holds {type(form).__name__}")
    return form


def _merge_parts(form: dict[str, object], path: Path) -> dict[str, object]:
    """Merge a file's table with the parts that it names; later parts and the file take precedence.

    Raises:
        DeviceError: there is no such part.
    """
    names = form.get(PARTS, [])
    parts = sorted(part.stem for part in (DATA / PARTS).glob("*.toml"))
    if not isinstance(names, list) or not set(map(str, names)) <= set(parts):
        raise DeviceError(f"'{PARTS}' in '{path}' may list {', '.join(parts)}; got {names!r}")
    merged: dict[str, object] = {}
    for name in names:
        merged = _merge_tables(merged, read_form(DATA / PARTS / f"{name}.toml"))
    return _merge_tables(merged, {key: value for key, value in form.items() if key != PARTS})


def _merge_tables(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Merge two tables and the tables in them; values of the upper one take precedence.

    >>> _merge_tables({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}, "b": 4})
    {'a': {'x': 1, 'y': 3}, 'b': 4}
    """
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        low = below[key]
        high = above[key]
        if isinstance(low, dict) and isinstance(high, dict):
            merged[key] = _merge_tables(low, high)
    return {key: merged[key] for key in [*below, *(key for key in above if key not in below)]}


def _first_fault(record: type, form: Mapping[str, object]) -> str:
    return next(_field_faults(record, {k: v for k, v in form.items() if k != "schema"}, ""), "")


def _field_faults(record: Any, form: Mapping[str, object], path: str) -> Iterator[str]:
    """Sentences about the invalid fields of one record."""
    hints = typing.get_type_hints(record)
    fields = {field.name: field for field in dataclasses.fields(record)}
    for name in form:
        if name not in fields:
            yield f"there is no field '{_field_path(path, name)}'; known are {', '.join(fields)}"
    for name, field in fields.items():
        if name in form:
            yield from _value_faults(hints[name], form[name], _field_path(path, name))
        elif field.default is field.default_factory is dataclasses.MISSING:
            yield f"'{_field_path(path, name)}' is missing"


def _value_faults(kind: Any, value: object, path: str) -> Iterator[str]:
    """Sentences about one value of a type, each about the innermost invalid part."""
    if typing.get_origin(kind) is types.UnionType:  # of one type and None
        kind = next(entry for entry in typing.get_args(kind) if entry is not type(None))
        if value is None:
            return
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        yield from _field_faults(kind, value, path)
    elif typing.get_origin(kind) is Mapping and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _value_faults(typing.get_args(kind)[1], item, _field_path(path, str(key)))
    else:
        yield from _codec_faults(kind, value, path)


def _codec_faults(kind: Any, value: object, path: str) -> Iterator[str]:
    try:
        read(kind, value)
    except InputError as error:
        yield f"'{path}': {error}"


def _field_path(path: str, name: str) -> str:
    """The path of a nested field.

    >>> _field_path("", "ram"), _field_path("units.cpu", "cores")
    ('ram', 'units.cpu.cores')
    """
    return f"{path}.{name}" if path else name
