"""Which device, and which unit of it computes."""

from __future__ import annotations

from pathlib import Path

from packlight.devices import load_device as device_named
from packlight.errors import RecipeError
from packlight.records import Device


def device_and_unit(device: str | Path | Device, unit: str) -> tuple[Device, str]:
    """A device by its name, its description or itself, and a unit that it has.

    Raises:
        InputError: there is no such device, or no such unit of it.
    """
    named = device if isinstance(device, Device) else device_named(device)
    return named, checked_unit(named, unit)


def checked_unit(device: Device, unit: str) -> str:
    """A unit that the device has.

    Raises:
        RecipeError: it has none of this name, or no runtime reaches it.
    """
    if unit and unit not in device.units:
        raise RecipeError(
            f"'{device.name}' computes on {', '.join(device.units)}; there is no '{unit}'"
        )
    chosen = unit or ("cpu" if "cpu" in device.units else next(iter(device.units)))
    if not device.units[chosen].runtimes:
        raise RecipeError(
            f"no runtime reaches the {chosen} of '{device.name}'; choose another unit"
        )
    return chosen
