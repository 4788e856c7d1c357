"""Devices as files: TOML or JSON, read with a sentence for what is wrong, and written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import tomli_w

from packlight.devices.faults import first_fault
from packlight.errors import DeviceError, InputError
from packlight.records.codec import from_json, to_json
from packlight.records.device import Device

DATA = Path(__file__).with_name("data")
PARTS = "parts"
"""Key of a file that names what it shares with others: files of ``data/parts``."""
FORMS: Mapping[str, Callable[[str], object]] = {".toml": tomllib.loads, ".json": json.loads}
"""What reads a file, by the suffix of its name."""


def read_device(path: Path) -> Device:
    """The device that a file describes.

    Raises:
        DeviceError: the file cannot be read, or its description does not hold.
    """
    form = whole(table(path), path)
    try:
        return from_json(Device, form)
    except DeviceError as error:
        raise DeviceError(f"the device in '{path}' does not hold: {error}") from error
    except InputError as error:
        fault = first_fault(Device, form) or str(error)
        raise DeviceError(f"the device in '{path}' does not hold: {fault}") from error


def write_device(device: Device, path: Path) -> None:
    """Write a device as TOML or JSON, by the suffix of the file's name.

    Raises:
        DeviceError: the suffix is another, or the file cannot be written.
    """
    if path.suffix not in FORMS:
        raise DeviceError(f"a device is written to a .toml or .json file; got '{path}'")
    written = device_toml(device) if path.suffix == ".toml" else device_json(device)
    try:
        path.write_text(written, "utf-8")
    except OSError as error:
        raise DeviceError(f"'{path}' cannot be written: {error.strerror}") from error


def device_toml(device: Device) -> str:
    """A device as TOML that ``read_device`` reads; everything it shares with others is in it."""
    return tomli_w.dumps(without_none(to_json(device)))


def without_none(table: Mapping[str, object]) -> dict[str, object]:
    """A table without unknown values, which TOML cannot write."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }


def device_json(device: Device) -> str:
    """A device as JSON that ``read_device`` reads."""
    return json.dumps(to_json(device), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def table(path: Path) -> dict[str, object]:
    """What a file holds, as plain values.

    Raises:
        DeviceError: it cannot be read, or is of another form.
    """
    try:
        found = FORMS[path.suffix](path.read_text("utf-8"))
    except OSError as error:
        raise DeviceError(f"the device '{path}' cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        form = path.suffix[1:].upper()
        raise DeviceError(
            f"the device '{path}' must be {form}; reading it gives: {error}"
        ) from error
    if not isinstance(found, dict):
        raise DeviceError(f"a device is a table of fields; '{path}' holds {type(found).__name__}")
    return found


def whole(form: dict[str, object], path: Path) -> dict[str, object]:
    """A file's table over the parts that it names, the later ones over the earlier.

    Raises:
        DeviceError: there is no such part.
    """
    named = form.get(PARTS, [])
    known = sorted(part.stem for part in (DATA / PARTS).glob("*.toml"))
    if not isinstance(named, list) or not set(map(str, named)) <= set(known):
        raise DeviceError(f"'{PARTS}' in '{path}' may list {', '.join(known)}; got {named!r}")
    merged: dict[str, object] = {}
    for name in named:
        merged = laid_over(merged, table(DATA / PARTS / f"{name}.toml"))
    return laid_over(merged, {key: value for key, value in form.items() if key != PARTS})


def laid_over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Two tables as one; where both have a value, the upper one's, and tables within likewise.

    >>> laid_over({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}, "b": 4})
    {'a': {'x': 1, 'y': 3}, 'b': 4}
    """
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        low, high = below[key], above[key]
        if isinstance(low, dict) and isinstance(high, dict):
            merged[key] = laid_over(low, high)
    return {key: merged[key] for key in [*below, *(key for key in above if key not in below)]}
