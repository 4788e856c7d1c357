"""Devices that users name, and the unit that computes."""

from __future__ import annotations

from pathlib import Path

from packlight.devices import load_device
from packlight.errors import RecipeError
from packlight.records import Device


def device_and_unit(device: str | Path | Device, unit: str) -> tuple[Device, str]:
    """Load a device and choose a unit of it.

    Args:
        device: name, path of a description, or the device itself.
        unit: that computes; empty for its CPU, or its first unit where it has none.

    Raises:
        InputError: there is no such device, or no such unit of it.
    """
    loaded = device if isinstance(device, Device) else load_device(device)
    return loaded, _checked_unit(loaded, unit)


def _checked_unit(device: Device, unit: str) -> str:
    """Return the unit, or the default one for an empty name.

    Raises:
        RecipeError: it has none of this name, or no runtime reaches it.
    """
    if unit and unit not in device.units:
        raise RecipeError(
            f"'{device.name}' computes on {', '.join(device.units)}; there is no '{unit}'"
        )
    default = "cpu" if "cpu" in device.units else next(iter(device.units))
    chosen = unit or default
    if not device.units[chosen].runtimes:
        raise RecipeError(
            f"no runtime reaches the {chosen} of '{device.name}'; choose another unit"
        )
    return chosen
