"""Read the profile that ONNX Runtime writes: the time of each kernel in each run.

Source: ONNX Runtime, profiler.cc: events in the order in which they end, in whole microseconds; the
kernels of a body end before the operator around it.
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
    """A kernel of a graph: its name and type as ONNX Runtime has them, and its node index."""

    name: str
    op: str
    node_index: int


@dataclass(frozen=True, slots=True)
class Event:
    """One call of a kernel, or one run.

    Attributes:
        kernel: None for a run.
        start: microseconds from any start.
        length: microseconds.
        inside: calls of kernels in its bodies, in order of their starts.
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
        within: seconds of it in kernels.
        seconds: by kernel, from its start to that of the next, without the kernels inside.
        calls: by kernel, number of calls.
    """

    length: float
    within: float
    seconds: Mapping[Kernel, float]
    calls: Mapping[Kernel, float]


def read_runs(text: str) -> list[Run]:
    """The complete runs of a profile, in order."""
    waiting: list[Event] = []
    runs = []
    for event in json.loads(text, object_hook=parse_event):
        if not isinstance(event, Event):
            continue
        if event.kernel is None:
            runs.append(run_of(event, pop_since(waiting, event.start)))
            waiting.clear()
            continue
        if event.kernel.op in HOLD_BODIES:
            event.inside.extend(pop_since(waiting, event.start))
        waiting.append(event)
    return runs


def pop_since(waiting: list[Event], start: float) -> list[Event]:
    """Remove from a list the last events that began since a time, and return them."""
    first = len(waiting)
    while first and waiting[first - 1].start >= start:
        first -= 1
    events = waiting[first:]
    del waiting[first:]
    return events


def parse_event(form: Mapping[str, object]) -> object:
    """An event of a kernel or a run from its JSON object; from its arguments, type and index."""
    if "op_name" in form:
        return str(form["op_name"]), int(str(form.get("node_index", -1)))
    name = str(form.get("name", ""))
    args = form.get("args")
    kernel = None
    if name.endswith(SUFFIX) and isinstance(args, tuple):
        kernel = Kernel(name.removesuffix(SUFFIX), *args)
    elif name != RUN:
        return None
    return Event(kernel, float(str(form["ts"])), float(str(form["dur"])))


def run_of(event: Event, events: Sequence[Event]) -> Run:
    """One run, from its event and those of the kernels that it calls directly."""
    seconds_by_kernel: dict[Kernel, float] = defaultdict(float)
    calls: dict[Kernel, float] = defaultdict(float)
    for kernel, seconds in exclusive_times(events):
        seconds_by_kernel[kernel] += seconds
        calls[kernel] += 1
    within = sum(event.length for event in events)
    return Run(event.length * MICRO, within * MICRO, dict(seconds_by_kernel), dict(calls))


def exclusive_times(events: Sequence[Event]) -> Iterator[tuple[Kernel, float]]:
    """Each call with the seconds until the next one begins, without those of calls inside it."""
    if not events:
        return
    ends = [*(event.start for event in events[1:]), events[-1].start + events[-1].length]
    for event, end in zip(events, ends, strict=True):
        inner = list(exclusive_times(event.inside))
        exclusive = (end - event.start) * MICRO - sum(seconds for _, seconds in inner)
        assert event.kernel is not None
        yield event.kernel, max(0.0, exclusive)
        yield from inner
