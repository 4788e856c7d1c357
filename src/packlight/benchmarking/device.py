"""Measure this machine as a device: time the set, fit curves, describe."""

from __future__ import annotations

import datetime
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from packlight.backends.onnxruntime.kernel_call import KINDS, RUN, Call
from packlight.benchmarking.curve_fit import Fit, Roof, Timing, fit_curves
from packlight.benchmarking.designs import Timed, timed_set
from packlight.benchmarking.latency import kernel_calls, polynomial_terms
from packlight.benchmarking.timing import (
    QUICK_RUN_SECONDS,
    ROUNDS,
    RUN_SECONDS,
    Progress,
    Row,
    Schedule,
    Timer,
    time_all,
)
from packlight.errors import DeviceError
from packlight.profiling import profile
from packlight.records.device import Citation, Curve, Device, Runtime, Share, Unit
from packlight.records.device_checks import FAMILIES, SLUG
from packlight.records.machine import Machine
from packlight.records.session import SessionOptions
from packlight.runtime import machine
from packlight.runtime.clock import Clock

SECONDS = 150.0
BLOCK = "block"
"""Word in the names of designs that stand for whole models."""

RUNTIME = "onnxruntime"
QUANTILES: Final = (0.1, 0.9)
"""Of kernels that are slower, and not faster, than a share says."""

UNKNOWN_SHARE = Share(0.1, 1.0)
"""Where nothing was timed."""

MIN_SHARE = 1e-4
"""Share of the roofline, at least."""


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
    timer: Timer | None = None,
    on: Machine | None = None,
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
        progress: called with what is being done.
        clock: seconds, from any start.
        timer: of another machine; models run here by default.
        on: record of that machine.

    Returns:
        A device of kind ``measured`` with one unit, ``cpu``, and curves.

    Raises:
        DeviceError: the name is none, or the file holds timings of something else or cannot be
            written.
    """
    measured = on or machine()
    named = device_name(name, measured)
    schedule = Schedule(
        timed_set(quick=quick, seed=seed),
        SessionOptions(threads=threads),
        seconds,
        *((QUICK_RUN_SECONDS, 1) if quick else (RUN_SECONDS, ROUNDS)),
    )
    rows = time_all(schedule, Path(timings), progress, clock, timer=timer, on=measured)
    counted_timings = _count_calls(schedule.models, rows, progress)
    roof = roof_of(counted_timings)
    fitted = fit_curves(counted_timings, roof, seed, round_drift(list(rows.values())))
    return describe(
        counted_timings, fitted, roof, measured,
        name=named,
        threads=threads,
        date=date or datetime.datetime.now(datetime.UTC).date().isoformat(),
        rounds=min(map(len, rows.values())),
    )  # fmt: skip


def device_name(name: str, on: Machine | None = None) -> str:
    """The name of the device: the one given, or made from the processor's.

    Raises:
        DeviceError: it cannot be written in a path or on a command line.
    """
    if name and not SLUG.fullmatch(name):
        raise DeviceError(f"a name is of small letters, digits and dashes; got '{name}'")
    return name or _slug((on or machine()).processor)


def _count_calls(
    models: Sequence[Timed], rows: Mapping[str, tuple[Row, ...]], progress: Progress
) -> list[Timing]:
    timings = []
    for done, model in enumerate(models):
        progress("counting", done, len(models))
        seconds = float(np.median([row.seconds for row in rows[model.key]]))
        timings.append(Timing(_calls_of(model), seconds, BLOCK in model.design))
    return timings


def round_drift(rows: Sequence[Sequence[Row]]) -> float:
    """Factor by which all models together are slower in one round than in another.

    Args:
        rows: of every model, round by round; those with fewer rounds than most say nothing.

    Returns:
        Standard deviation over rounds of the logarithm, for the model in the middle.
    """
    most = max(map(len, rows))
    if most == 1:
        return 0.0
    complete = [model_rows for model_rows in rows if len(model_rows) == most]
    times = np.log([[row.seconds for row in model_rows] for model_rows in complete])
    return float(np.std(np.median(times - np.median(times, axis=1, keepdims=True), axis=0), ddof=1))


def _calls_of(timed: Timed) -> Mapping[Call, int]:
    model, _ = timed.draw()
    return kernel_calls(model, profile(model, {}))


def roof_of(timings: Sequence[Timing]) -> Roof:
    """The best that any model reached: arithmetic by data type, and traffic without arithmetic."""
    peak: dict[str, float] = {}
    bandwidth = 0.0
    for timing in timings:
        macs: dict[str, float] = defaultdict(float)
        for call, times in timing.calls.items():
            macs[call.dtype] += call.macs * times
        for dtype, count in macs.items():
            if count:
                peak[dtype] = max(peak.get(dtype, 0.0), count / timing.seconds)
        moved = sum(call.moved * times for call, times in timing.calls.items())
        if not any(macs.values()):
            bandwidth = max(bandwidth, moved / timing.seconds)
    return Roof(peak or {"float32": 1.0}, bandwidth or 1.0)


def efficiency(timings: Sequence[Timing], fitted: Fit, roof: Roof) -> dict[str, Share]:
    """Shares of the roofline between which kernels lie, by family and, for codes, data type."""
    reached: dict[str, list[float]] = defaultdict(list)
    for timing in timings:
        for call in timing.calls:
            if call.curve in fitted.curves and call.kind != RUN.kind and roof.seconds(call):
                name = KINDS[call.kind].family
                if call.dtype != "float32":
                    name = f"{name}:{call.dtype}"
                reached[name].append(_roofline_share(call, fitted.curves[call.curve]))
    values_of_all = [value for values in reached.values() for value in values]
    shares = {family: typical_share(reached.get(family) or values_of_all) for family in FAMILIES}
    return {
        **shares,
        **{name: typical_share(reached[name]) for name in reached if name not in shares},
    }


def _roofline_share(call: Call, curve: Curve) -> float:
    return math.exp(-float(polynomial_terms(call.shape, curve) @ np.array(curve.coefficients)))


def typical_share(reached: Sequence[float]) -> Share:
    """The range that most of some shares are in."""
    if not reached:
        return UNKNOWN_SHARE
    low, high = (float(value) for value in np.clip(np.quantile(reached, QUANTILES), MIN_SHARE, 1.0))
    return Share(low, high)


def describe(
    timings: Sequence[Timing], fitted: Fit, roof: Roof, machine: Machine, *,
    name: str, threads: int, date: str, rounds: int,
) -> Device:  # fmt: skip
    """The device that this machine is, as timed.

    Args:
        timings: of the set.
        fitted: to them.
        roof: that the fit is relative to.
        machine: this one.
        name: of the device.
        threads: within one operator.
        date: of the measurement, as year-month-day.
        rounds: over the set.
    """
    threads_used = f"{threads} thread{'s' * (threads > 1)}"
    statement = (
        f"Measured by `packlight devices measure` on {date}: ONNX Runtime {machine.onnxruntime}, "
        f"{threads_used}, {len(timings)} models, {rounds} round{'s' * (rounds > 1)}, on "
        f"{machine.system}."
    )
    unit = Unit(
        peak=roof.peak,
        runtimes=(RUNTIME,),
        efficiency=efficiency(timings, fitted, roof),
        overhead=fitted.overhead,
        cores=threads,
        one_core=1.0 if threads == 1 else None,
    )
    dtypes = tuple(dtype for dtype in ("float32", "int8") if dtype in roof.peak)
    return Device(
        name=name,
        title=f"{machine.processor}, as measured with {threads_used}",
        kind="measured",
        processor=f"{machine.processor}: {machine.cores} cores, {', '.join(machine.features)}",
        units={"cpu": unit},
        runtimes={RUNTIME: Runtime(dtypes, RUNTIME)},
        sources=dict(_sources(statement, machine)),
        bandwidth=roof.bandwidth,
        ram=machine.memory or None,
        saturates=machine.saturates,
        curves=fitted.curves,
    )


def _sources(statement: str, machine: Machine) -> Iterator[tuple[str, Citation]]:
    """Source of each figure."""
    texts = {
        "units.cpu": "The peak is the best rate of multiply-accumulates that any model reached.",
        "units.cpu.efficiency": "Tenth and ninetieth percentile over the kernels timed.",
        "units.cpu.overhead": "Fitted, with the curves, to the times of all models.",
        "bandwidth": "The best traffic that any model without products reached, caches included.",
        "runtimes": "What was timed.",
        "curves": "Ridge regression on times of models; spreads are those of models not seen.",
    }
    if machine.memory:
        texts["ram"] = "As the system tells."
    if machine.saturates:
        texts["saturates"] = "Tried."
    for path, text in texts.items():
        yield path, Citation("measured", f"{statement} {text}")


def _slug(text: str) -> str:
    """A text as the name of a device.

    >>> _slug("AMD EPYC (tm) 7B13")
    'amd-epyc-tm-7b13'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "measured"
