"""What an agent says about its machine, checked, as a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packlight.errors import DeviceError
from packlight.presentation.printable import printable
from packlight.records.machine import Machine
from packlight.runtime.hardware import from_cpuinfo, relevant_sets

LONGEST_TEXT = 8192
LONGEST_NAME = 120
MOST_CORES = 1 << 16
MOST_MEMORY = 1 << 50


def machine_of(facts: Mapping[str, Any], title: str, *, saturates: bool) -> Machine:
    """The record of a machine.

    Args:
        facts: as the agent sent them.
        title: of the agent, for messages.
        saturates: whether sums of 8-bit products saturate there.

    Raises:
        DeviceError: a fact is missing, or of another type or size.
    """
    cpu = from_cpuinfo(_text(facts, "cpuinfo", title) or "\n")
    architecture = _name(facts, "architecture", title)
    return Machine(
        system=_name(facts, "system", title),
        processor=printable(cpu["name"][:LONGEST_NAME]) or architecture,
        architecture=architecture,
        cores=_count(facts, "cores", title, MOST_CORES),
        memory=_count(facts, "memory", title, MOST_MEMORY),
        features=relevant_sets(cpu["flags"]),
        saturates=saturates,
        python=_name(facts, "python", title),
        onnxruntime=_name(facts, "onnxruntime", title),
    )


def host_name(facts: Mapping[str, Any], title: str) -> str:
    """Name of the machine in its network."""
    return _name(facts, "name", title)


def _name(facts: Mapping[str, Any], field: str, title: str) -> str:
    return printable(_text(facts, field, title)[:LONGEST_NAME])


def _text(facts: Mapping[str, Any], field: str, title: str) -> str:
    value = facts.get(field)
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise DeviceError(f"{title} states no '{field}', so it is no agent of packlight")
    return value


def _count(facts: Mapping[str, Any], field: str, title: str, most: int) -> int:
    value = facts.get(field)
    if type(value) is not int or not 0 <= value <= most:
        raise DeviceError(f"{title} states no '{field}', so it is no agent of packlight")
    return value
