"""Measure this machine: time the set, fit, describe."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from packlight.backends.onnxruntime.kernel_call import Call
from packlight.benchmarking.curve_fit import Timing, fit
from packlight.benchmarking.describe import describe, roof_of, slug
from packlight.benchmarking.designs import Timed, timed_set
from packlight.benchmarking.kernel_walk import calls
from packlight.benchmarking.timing import (
    EACH,
    QUICK_EACH,
    ROUNDS,
    Progress,
    Row,
    Schedule,
    time_all,
)
from packlight.errors import DeviceError
from packlight.profiling import profile
from packlight.records.device import Device
from packlight.records.device_checks import SLUG
from packlight.records.session import SessionOptions
from packlight.runtime import machine
from packlight.runtime.clock import Clock

SECONDS = 150.0
BLOCK = "block"
"""Word in the names of designs that stand for whole models."""


def _unwatched(what: str, done: int, total: int) -> None:
    del what, done, total


def measure_device(
    timings: str | Path,
    *,
    name: str = "",
    threads: int = 1,
    seconds: float = SECONDS,
    quick: bool = False,
    seed: int = 0,
    date: str = "",
    progress: Progress = _unwatched,
    clock: Clock = time.perf_counter,
) -> Device:
    """Time kernels of many shapes and data types on this machine, and describe it.

    Args:
        timings: file of JSON lines in which results are kept as they come; where it exists, what
            is in it is not timed again.
        name: of the device; from the processor's where it is empty.
        threads: within one operator.
        seconds: to spend; the first round over all models is always ended.
        quick: time few models, once, to try it out: what comes of it predicts badly.
        seed: of the shapes and weights of the models.
        date: to state, as year-month-day; today where it is empty.
        progress: told what is being done.
        clock: seconds, from any start.

    Returns:
        A device of kind ``measured`` with one unit, ``cpu``, and curves.

    Raises:
        DeviceError: the name is none, or the file holds timings of something else or cannot be
            written.
    """
    named = device_name(name)
    schedule = Schedule(
        timed_set(quick=quick, seed=seed),
        SessionOptions(threads=threads),
        seconds,
        QUICK_EACH if quick else EACH,
        1 if quick else ROUNDS,
    )
    rows = time_all(schedule, Path(timings), progress, clock)
    timings_known = counted(schedule.models, rows, progress)
    roof = roof_of(timings_known)
    return describe(
        timings_known, fit(timings_known, roof, seed, drift(list(rows.values()))), roof, machine(),
        name=named,
        threads=threads,
        date=date or datetime.datetime.now(datetime.UTC).date().isoformat(),
        rounds=min(map(len, rows.values())),
    )  # fmt: skip


def device_name(name: str) -> str:
    """The name of the device: the one given, or made from the processor's.

    Raises:
        DeviceError: it cannot be written in a path or on a command line.
    """
    if name and not SLUG.fullmatch(name):
        raise DeviceError(f"a name is of small letters, digits and dashes; got '{name}'")
    return name or slug(machine().processor)


def counted(
    models: Sequence[Timed], rows: Mapping[str, tuple[Row, ...]], progress: Progress
) -> list[Timing]:
    """Calls of each model, with its time."""
    timings = []
    for done, model in enumerate(models):
        progress("counting", done, len(models))
        seconds = float(np.median([row.seconds for row in rows[model.key]]))
        timings.append(Timing(_calls_of(model), seconds, BLOCK in model.design))
    return timings


def drift(rows: Sequence[Sequence[Row]]) -> float:
    """Factor by which all models together are slower in one round than in another.

    Args:
        rows: of every model, round by round; those with fewer rounds than most say nothing.

    Returns:
        Standard deviation over rounds of the logarithm, for the model in the middle.
    """
    most = max(map(len, rows))
    if most == 1:
        return 0.0
    times = np.log(
        [
            [row.seconds for row in rows_of_model]
            for rows_of_model in rows
            if len(rows_of_model) == most
        ]
    )
    return float(np.std(np.median(times - np.median(times, axis=1, keepdims=True), axis=0), ddof=1))


def _calls_of(timed: Timed) -> Mapping[Call, int]:
    model, _ = timed.draw()
    return calls(model, profile(model, {}))
