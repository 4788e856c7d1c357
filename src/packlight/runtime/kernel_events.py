"""What ONNX Runtime's profiler wrote down, as the time that each kernel takes in each run.

Source: ONNX Runtime, profiler.cc: events in the order in which they end, in whole microseconds; the
kernels of a body end before the operator that they are in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MICRO = 1e-6
SUFFIX = "_kernel_time"
RUN = "model_run"
HOLD_BODIES: Final = frozenset(("If", "Loop", "Scan"))
"""Operators that call others while they run."""


class Kernel(NamedTuple):
    """Which kernel of a graph: its name and type as ONNX Runtime has them, and its place."""

    name: str
    op: str
    place: int


@dataclass(frozen=True, slots=True)
class Event:
    """One call of a kernel, or one run.

    Attributes:
        kernel: which; of a run, none.
        start: microseconds from any start.
        length: microseconds.
        inside: calls of kernels in its bodies, in the order they began.
    """

    kernel: Kernel | None
    start: float
    length: float
    inside: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a model.

    Attributes:
        length: seconds.
        within: seconds of it that some kernel takes.
        taken: by kernel, seconds from its start to that of the next, without what is inside.
        calls: by kernel, how often it was called.
    """

    length: float
    within: float
    taken: Mapping[Kernel, float]
    calls: Mapping[Kernel, float]


def read_runs(text: str) -> list[Run]:
    """The runs that a profile tells of, in their order, as far as it tells them whole."""
    waiting: list[Event] = []
    runs = []
    for event in json.loads(text, object_hook=told):
        if not isinstance(event, Event):
            continue
        if event.kernel is None:
            runs.append(run_of(event, begun(waiting, event.start)))
            waiting.clear()
            continue
        if event.kernel.op in HOLD_BODIES:
            event.inside.extend(begun(waiting, event.start))
        waiting.append(event)
    return runs


def begun(waiting: list[Event], start: float) -> list[Event]:
    """Take the last events off a list that began since a time."""
    first = len(waiting)
    while first and waiting[first - 1].start >= start:
        first -= 1
    found = waiting[first:]
    del waiting[first:]
    return found


def told(form: Mapping[str, object]) -> object:
    """An object of the file: an event of a kernel or a run; of its details, type and place."""
    if "op_name" in form:
        return str(form["op_name"]), int(str(form.get("node_index", -1)))
    name, args = str(form.get("name", "")), form.get("args")
    kernel = None
    if name.endswith(SUFFIX) and isinstance(args, tuple):
        kernel = Kernel(name.removesuffix(SUFFIX), *args)
    elif name != RUN:
        return None
    return Event(kernel, float(str(form["ts"])), float(str(form["dur"])))


def run_of(whole: Event, events: Sequence[Event]) -> Run:
    """One run, from its event and those of the kernels that it calls itself."""
    taken: dict[Kernel, float] = defaultdict(float)
    calls: dict[Kernel, float] = defaultdict(float)
    for kernel, seconds in slots(events):
        taken[kernel] += seconds
        calls[kernel] += 1
    within = sum(event.length for event in events)
    return Run(whole.length * MICRO, within * MICRO, dict(taken), dict(calls))


def slots(events: Sequence[Event]) -> Iterator[tuple[Kernel, float]]:
    """Each call with the seconds until the next one begins, those of calls inside it taken off."""
    for place, event in enumerate(events):
        after = events[place + 1].start if place + 1 < len(events) else event.start + event.length
        inner = list(slots(event.inside))
        own = (after - event.start) * MICRO - sum(seconds for _, seconds in inner)
        assert event.kernel is not None
        yield event.kernel, max(0.0, own)
        yield from inner
