"""Descriptions of devices, in data files with a source for every figure.

``data`` holds one file for each device and, in ``parts``, what several of them share; ``operators``
holds what each runtime runs. A file of the user's is read and checked in the same way.
"""

from packlight.devices.catalog import list_devices, load_device, names, operator_set
from packlight.devices.files import device_toml, read_device, write_device

__all__ = [
    "device_toml",
    "list_devices",
    "load_device",
    "names",
    "operator_set",
    "read_device",
    "write_device",
]
