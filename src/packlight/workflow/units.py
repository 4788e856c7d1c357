"""Which unit of a device computes."""

from __future__ import annotations

from packlight.errors import RecipeError
from packlight.records import Device


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
