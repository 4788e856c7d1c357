"""Descriptions of devices, in data files with a source for every figure.

``data`` holds one file for each device and, in ``parts``, the fields that several share;
``operators`` holds the operators that each runtime supports. Users' files are read and checked in
the same way.
"""

from packlight.devices.catalog import device_names, list_devices, load_device, operator_set
from packlight.devices.files import device_toml, read_device, write_device

__all__ = [
    "device_names",
    "device_toml",
    "list_devices",
    "load_device",
    "operator_set",
    "read_device",
    "write_device",
]
