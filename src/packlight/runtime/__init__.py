"""The only place that opens ONNX Runtime: sessions, taps, clock, memory, machine, vet.

Names load on first use, so that a child process that measures memory loads no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packlight.runtime.ahead import ahead
    from packlight.runtime.calls import Feeds, Session, Steps
    from packlight.runtime.clock import latency_of, time_against
    from packlight.runtime.hardware import machine
    from packlight.runtime.integers import exact
    from packlight.runtime.memory import peak_memory
    from packlight.runtime.rounds import race
    from packlight.runtime.saturation import Saturation, saturation
    from packlight.runtime.session import open_session
    from packlight.runtime.taps import stream, tapped
    from packlight.runtime.vetting import unchanged, vet

HOME = {
    "ahead": "ahead",
    "Feeds": "calls",
    "Session": "calls",
    "Steps": "calls",
    "exact": "integers",
    "latency_of": "clock",
    "machine": "hardware",
    "open_session": "session",
    "peak_memory": "memory",
    "race": "rounds",
    "Saturation": "saturation",
    "saturation": "saturation",
    "stream": "taps",
    "tapped": "taps",
    "time_against": "clock",
    "unchanged": "vetting",
    "vet": "vetting",
}
"""Module of each public name."""

__all__ = [
    "Feeds",
    "Saturation",
    "Session",
    "Steps",
    "ahead",
    "exact",
    "latency_of",
    "machine",
    "open_session",
    "peak_memory",
    "race",
    "saturation",
    "stream",
    "tapped",
    "time_against",
    "unchanged",
    "vet",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value: object = getattr(import_module(f"{__name__}.{HOME[name]}"), name)
    globals()[name] = value
    return value
