"""The devices and sets of operators that packlight knows, by name."""

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


def names() -> tuple[str, ...]:
    """Names of all known devices, in alphabetical order, without their aliases."""
    return tuple(sorted(path.stem for path in DATA.glob("*.toml")))


def list_devices() -> tuple[Device, ...]:
    """All known devices, in the order of ``names``."""
    return tuple(map(known, names()))


def load_device(name_or_path: str | Path) -> Device:
    """The device of a name, an alias, or a ``.toml`` or ``.json`` file.

    Raises:
        DeviceError: there is none, or its description does not hold.

    >>> device("iPhone 15 Pro").name, device("android-low-end").name
    ('iphone-15-pro', 'galaxy-a05')
    """
    if Path(name_or_path).suffix in FORMS:
        return with_known_operators(read_device(Path(name_or_path)))
    wanted = str(name_or_path).strip().lower().replace(" ", "-")
    if wanted in names():
        return known(wanted)
    by_name = {name: one for one in list_devices() for name in (one.name, *one.aliases)}
    if wanted not in by_name:
        raise DeviceError(
            f"there is no device '{name_or_path}'.{near(wanted, by_name)} Known are "
            f"{', '.join(names())}; or give the path of a .toml or .json file"
        )
    return by_name[wanted]


def with_known_operators(found: Device) -> Device:
    """A device whose sets of operators all exist.

    Raises:
        DeviceError: one does not.
    """
    for name, runtime in found.runtimes.items():
        if runtime.operators not in operator_sets():
            raise DeviceError(
                f"'runtimes.{name}.operators' may be {', '.join(operator_sets())}; "
                f"got '{runtime.operators}'"
            )
    return found


def operator_set(name: str) -> OperatorSet:
    """What a runtime runs.

    Raises:
        DeviceError: there is no set of this name.
    """
    sets = operator_sets()
    if name not in sets:
        raise DeviceError(
            f"there is no set of operators '{name}'.{near(name, sets)} Known are {', '.join(sets)}"
        )
    return sets[name]


@cache
def known(name: str) -> Device:
    """A device of the package, read once."""
    return read_device(DATA / f"{name}.toml")


@cache
def operator_sets() -> Mapping[str, OperatorSet]:
    """Every set of operators of the package, read once."""
    paths = sorted(OPERATORS.glob("*.toml"))
    forms = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in paths}
    return {name: from_json(OperatorSet, form) for name, form in forms.items()}


def near(wanted: str, choices: Iterable[str]) -> str:
    """The choices that are written nearly so, as a question.

    >>> near("iphone-15", ["iphone-15-pro", "pixel-8"])
    " Did you mean 'iphone-15-pro'?"
    """
    found = difflib.get_close_matches(wanted, list(choices), n=2)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""
