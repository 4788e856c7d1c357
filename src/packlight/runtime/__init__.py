"""The only place that opens ONNX Runtime: sessions, taps, clock, memory, machine, vet.

Names load on first use, so that a child process that measures memory loads no more than it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packlight.lazy import lazy

if TYPE_CHECKING:
    from packlight.runtime.ahead import ahead
    from packlight.runtime.calls import Feeds, Session, Steps
    from packlight.runtime.clock import latency_of, time_against
    from packlight.runtime.hardware import machine
    from packlight.runtime.integers import exact
    from packlight.runtime.memory import peak_memory
    from packlight.runtime.rounds import race, race_both
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
    "race_both": "rounds",
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
    "race_both",
    "saturation",
    "stream",
    "tapped",
    "time_against",
    "unchanged",
    "vet",
]

__getattr__ = lazy(__name__, HOME)
