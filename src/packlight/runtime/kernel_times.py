"""The kernels that a session calls and their times, compared with the same session unprofiled.

Source: ONNX Runtime, profiler.cc: events in the order in which they end, in whole microseconds; the
kernels of a body end before the operator around it.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from packlight.disk import scratch_folder
from packlight.errors import ModelError
from packlight.model import Model, file_size, save, to_bytes
from packlight.model.map_types import from_proto
from packlight.model.save import INLINE_LIMIT
from packlight.records.session import SessionOptions
from packlight.runtime.calls import (
    Session,
    Steps,
    native_options,
    start_session,
    start_with_options,
)
from packlight.runtime.clock import WARM_UP, Clock, Seconds, interleaved_seconds

ROUNDS = 3
"""Openings of both sessions, since openings differ in speed."""

GRAPH_FILE = "optimized.onnx"
WEIGHTS_FILE = "optimized.bin"
EXTERNAL_WEIGHTS = "session.optimized_model_external_initializers"
"""Setting to write the optimized graph without its weights."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """Times of one model's kernels.

    Attributes:
        graph: as ONNX Runtime optimized it, without large weights.
        runs: profiled calls of the model, in order, without those that warm up.
        steps: calls in a row that are one sample.
        plain: seconds of one call in the session without profiler, (rounds,).
        profiled: seconds of one call in the session with it, (rounds,).
    """

    graph: ir.Model
    runs: Sequence[Run]
    steps: int
    plain: Seconds
    profiled: Seconds


def time_kernels(
    model: Model,
    sample: Steps,
    state: Mapping[str, str],
    options: SessionOptions,
    *,
    seconds: float = 2.0,
    rounds: int = ROUNDS,
    clock: Clock = time.perf_counter,
) -> Kernels:
    """Run a model with ONNX Runtime's profiler, taking turns with a session without it.

    Args:
        model: the model.
        sample: its calls, at least one.
        state: by output, the input that it feeds at the next step.
        options: of both sessions, with the runtime's arithmetic.
        seconds: to spend, without the openings.
        rounds: openings of both sessions, at least one.
        clock: seconds, from any start.

    Raises:
        TaskError: the sample does not fit.
        ModelError: the model cannot be opened, fails, or calls too many kernels to record.
    """
    runs: list[Run] = []
    seconds_of_rounds: list[Seconds] = []
    with scratch_folder() as folder:
        source = session_source(model, folder)
        for _ in range(rounds):
            plain = start_session(source, model.name, options)
            profiled = _profiled_session(source, model, options, folder)
            seconds_of_rounds.append(
                interleaved_seconds([plain, profiled], [sample], state, seconds / rounds, clock)
            )
            profile = Path(profiled.native.end_profiling())
            runs += _complete_samples(read_runs(profile.read_text("utf-8")), len(sample))
            profile.unlink()
        graph = from_proto(onnx.load(folder / GRAPH_FILE, load_external_data=False))
    if not runs:
        raise ModelError(
            f"'{model.name}' calls more kernels in {WARM_UP + 1} samples than ONNX Runtime's "
            "profiler records; measure it on a shorter sample"
        )
    calls = np.concatenate(seconds_of_rounds)
    return Kernels(graph, runs, len(sample), calls[:, 0], calls[:, 1])


def session_source(model: Model, folder: Path) -> bytes | Path:
    """Bytes to start a session on, or a file where protobuf cannot hold them."""
    if file_size(model.graph) <= INLINE_LIMIT:
        return to_bytes(model)
    save(model, folder / "model.onnx")
    return folder / "model.onnx"


def _profiled_session(
    source: bytes | Path, model: Model, options: SessionOptions, folder: Path
) -> Session:
    """A session that records its events, and its graph at the first opening."""
    native = native_options(options)
    native.enable_profiling = True
    native.profile_file_prefix = str(folder / "events")
    if not (folder / GRAPH_FILE).exists():  # it is the same at every opening
        native.optimized_model_filepath = str(folder / GRAPH_FILE)
        native.add_session_config_entry(f"{EXTERNAL_WEIGHTS}_file_name", WEIGHTS_FILE)
        native.add_session_config_entry(f"{EXTERNAL_WEIGHTS}_min_size_in_bytes", "1024")
    return start_with_options(source, model.name, options, native)


def _complete_samples(runs: Sequence[Run], steps: int) -> Sequence[Run]:
    counted = runs[WARM_UP * steps :]
    return counted[: len(counted) // steps * steps]


def read_runs(text: str) -> list[Run]:
    """The complete runs of a profile, in order."""
    waiting: list[Event] = []
    runs = []
    for event in json.loads(text, object_hook=_parse_event):
        if not isinstance(event, Event):
            continue
        if event.kernel is None:
            runs.append(_run_of(event, _pop_since(waiting, event.start)))
            waiting.clear()
            continue
        if event.kernel.op in HOLD_BODIES:
            event.inside.extend(_pop_since(waiting, event.start))
        waiting.append(event)
    return runs


def _pop_since(waiting: list[Event], start: float) -> list[Event]:
    first = len(waiting)
    while first and waiting[first - 1].start >= start:
        first -= 1
    events = waiting[first:]
    del waiting[first:]
    return events


def _parse_event(form: Mapping[str, object]) -> object:
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


def _run_of(event: Event, events: Sequence[Event]) -> Run:
    """One run, from its event and those of the kernels that it calls directly."""
    seconds_by_kernel: dict[Kernel, float] = defaultdict(float)
    calls: dict[Kernel, float] = defaultdict(float)
    for kernel, seconds in _exclusive_times(events):
        seconds_by_kernel[kernel] += seconds
        calls[kernel] += 1
    within = sum(event.length for event in events)
    return Run(event.length * MICRO, within * MICRO, dict(seconds_by_kernel), dict(calls))


def _exclusive_times(events: Sequence[Event]) -> Iterator[tuple[Kernel, float]]:
    """Each call with the seconds until the next one begins, without those of calls inside it."""
    if not events:
        return
    ends = [*(event.start for event in events[1:]), events[-1].start + events[-1].length]
    for event, end in zip(events, ends, strict=True):
        inner = list(_exclusive_times(event.inside))
        exclusive = (end - event.start) * MICRO - sum(seconds for _, seconds in inner)
        assert event.kernel is not None
        yield event.kernel, max(0.0, exclusive)
        yield from inner
