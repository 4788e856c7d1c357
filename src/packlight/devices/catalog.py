"""Devices and sets of operators of the package, by name."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from packlight.devices.files import DATA, FORMS, read_device
from packlight.errors import DeviceError
from packlight.records.codec import from_json
from packlight.records.device import Device, OperatorSet

OPERATORS = Path(__file__).with_name("operators")


def device_names() -> tuple[str, ...]:
    """Names of all devices of the package, in alphabetical order, without aliases."""
    return tuple(sorted(path.stem for path in DATA.glob("*.toml")))


def list_devices() -> tuple[Device, ...]:
    """All devices of the package, in the order of ``device_names``."""
    return tuple(map(_packaged_device, device_names()))


def load_device(name_or_path: str | Path) -> Device:
    """Load a device by name or alias, or from a ``.toml`` or ``.json`` file.

    Raises:
        DeviceError: there is none, or its description is invalid.

    >>> load_device("iPhone 15 Pro").name, load_device("android-low-end").name
    ('iphone-15-pro', 'galaxy-a05')
    """
    if Path(name_or_path).suffix in FORMS:
        return _check_operator_sets(read_device(Path(name_or_path)))
    name = str(name_or_path).strip().lower().replace(" ", "-")
    if name in device_names():
        return _packaged_device(name)
    devices = {key: device for device in list_devices() for key in (device.name, *device.aliases)}
    if name not in devices:
        raise DeviceError(
            f"there is no device '{name_or_path}'.{_suggestion(name, devices)} Known are "
            f"{', '.join(device_names())}; or give the path of a .toml or .json file"
        )
    return devices[name]


def _check_operator_sets(device: Device) -> Device:
    """Check that all sets of operators of a device exist, and return it.

    Raises:
        DeviceError: a set does not exist.
    """
    for name, runtime in device.runtimes.items():
        if runtime.operators not in operator_sets():
            raise DeviceError(
                f"'runtimes.{name}.operators' may be {', '.join(operator_sets())}; "
                f"got '{runtime.operators}'"
            )
    return device


def operator_set(name: str) -> OperatorSet:
    """The operators that a runtime supports.

    Raises:
        DeviceError: there is no set of this name.
    """
    sets = operator_sets()
    if name not in sets:
        raise DeviceError(
            f"there is no set of operators '{name}'.{_suggestion(name, sets)} "
            f"Known are {', '.join(sets)}"
        )
    return sets[name]


@cache
def _packaged_device(name: str) -> Device:
    return read_device(DATA / f"{name}.toml")


@cache
def operator_sets() -> Mapping[str, OperatorSet]:
    """Every set of operators of the package, read once."""
    paths = sorted(OPERATORS.glob("*.toml"))
    forms = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in paths}
    return {name: from_json(OperatorSet, form) for name, form in forms.items()}


def _suggestion(name: str, choices: Iterable[str]) -> str:
    """The choices with the most similar spelling, as a question.

    >>> _suggestion("iphone-15", ["iphone-15-pro", "pixel-8"])
    " Did you mean 'iphone-15-pro'?"
    """
    matches = difflib.get_close_matches(name, list(choices), n=2)
    if not matches:
        return ""
    return f" Did you mean {' or '.join(map(repr, matches))}?"
