"""Timings of the set as the description of a device."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from packlight.backends.onnxruntime.kernel_call import KINDS, RUN, Call
from packlight.benchmarking.curve_fit import Fit, Roof, Timing
from packlight.benchmarking.kernel_curves import terms
from packlight.records.device import Citation, Curve, Device, Runtime, Share, Unit
from packlight.records.device_checks import FAMILIES
from packlight.records.machine import Machine

RUNTIME = "onnxruntime"
QUANTILES: Final = (0.1, 0.9)
"""Of kernels that are slower, and not faster, than a share says."""

GUESS = Share(0.1, 1.0)
"""Where nothing was timed."""

LEAST = 1e-4
"""Share of the roofline, at least."""


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
        bandwidth = max(bandwidth, moved / timing.seconds if not any(macs.values()) else 0.0)
    return Roof(peak or {"float32": 1.0}, bandwidth or 1.0)


def efficiency(timings: Sequence[Timing], fitted: Fit, roof: Roof) -> dict[str, Share]:
    """Between which shares of the roofline kernels lie, by family and, for codes, data type."""
    reached: dict[str, list[float]] = defaultdict(list)
    for timing in timings:
        for call in timing.calls:
            if call.curve in fitted.curves and call.kind != RUN.kind and roof.seconds(call):
                family = KINDS[call.kind].family
                name = family if call.dtype == "float32" else f"{family}:{call.dtype}"
                reached[name].append(reaches(call, fitted.curves[call.curve]))
    values_of_all = [value for values in reached.values() for value in values]
    shares = {family: share(reached.get(family) or values_of_all) for family in FAMILIES}
    return {**shares, **{name: share(reached[name]) for name in reached if name not in shares}}


def reaches(call: Call, curve: Curve) -> float:
    """The share of the roofline that a curve says of a call."""
    return math.exp(-float(terms(call.shape, curve) @ np.array(curve.coefficients)))


def share(reached: Sequence[float]) -> Share:
    """The range that most of some shares are in."""
    if not reached:
        return GUESS
    low, high = (float(value) for value in np.clip(np.quantile(reached, QUANTILES), LEAST, 1.0))
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
    statement = (
        f"Measured by `packlight devices measure` on {date}: ONNX Runtime {machine.onnxruntime}, "
        f"{threads} thread{'s' if threads > 1 else ''}, {len(timings)} models, {rounds} "
        f"round{'s' if rounds > 1 else ''}, on {machine.system}."
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
        title=f"{machine.processor}, as measured with {threads} thread{'s' * (threads > 1)}",
        kind="measured",
        processor=f"{machine.processor}: {machine.cores} cores, {', '.join(machine.features)}",
        units={"cpu": unit},
        runtimes={RUNTIME: Runtime(dtypes, RUNTIME)},
        sources=dict(sources(statement, machine)),
        bandwidth=roof.bandwidth,
        ram=machine.memory or None,
        saturates=machine.saturates,
        curves=fitted.curves,
    )


def sources(statement: str, machine: Machine) -> Iterator[tuple[str, Citation]]:
    """Where each figure comes from."""
    texts = {
        "units.cpu": "The peak is the best rate of multiply-accumulates that any model reached.",
        "units.cpu.efficiency": "Tenth and ninetieth percentile over the kernels timed.",
        "units.cpu.overhead": "Fitted, with the curves, to the times of all models.",
        "bandwidth": "The best traffic that any model without products reached, caches included.",
        "runtimes": "What was timed.",
        "curves": "Ridge regression on times of models; spreads are those of models not seen.",
        **({"ram": "As the system tells."} if machine.memory else {}),
        **({"saturates": "Tried."} if machine.saturates else {}),
    }
    for path, text in texts.items():
        yield path, Citation("measured", f"{statement} {text}")


def slug(text: str) -> str:
    """A text as the name of a device.

    >>> slug("AMD EPYC (tm) 7B13")
    'amd-epyc-tm-7b13'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "measured"
