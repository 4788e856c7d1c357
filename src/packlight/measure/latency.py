"""Latency of a model on a device, predicted kernel by kernel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from packlight.errors import DeviceError
from packlight.measure.call import RUN, Call
from packlight.measure.curves import CPU, REACH, central, cpu
from packlight.measure.walk import NOTHING, calls
from packlight.model import Model, Shape
from packlight.records.device import Device
from packlight.records.measurement import Measurement
from packlight.records.profile import Profile

TOGETHER = 0.5
"""Share of the variance of a kernel's error that is common to all shapes of its kind; the rest is
each shape's own. Calls of one shape err alike."""


def predict_latency(
    model: Model,
    profile: Profile,
    device: Device,
    threads: int = 1,
    seen_shapes: Mapping[str, Shape] = NOTHING,
) -> Measurement:
    """Seconds for one run of a model.

    Args:
        model: the model.
        profile: of it, which says for what shapes of inputs.
        device: measured, or described by shares of the roofline alone, which says much less.
        threads: within one operator.
        seen_shapes: shapes of values that a run showed.

    Returns:
        An estimate with a 95 % interval: from the spread of the curves of all kernels, and from how
        far off whole models were when the device was measured.

    Raises:
        ModelError: a shape is not known.
        DeviceError: the device has no CPU, or was measured with another number of threads.
    """
    return total(calls(model, profile, seen_shapes), at_threads(device, threads))


def total(made: Mapping[Call, int], device: Device) -> Measurement:
    """Seconds that some calls of kernels take one after the other."""
    whole, own, shared = 0.0, 0.0, defaultdict[str, float](float)
    for call, times in made.items():
        middle, spread = central(call, device)
        whole += times * middle
        if call.kind != RUN.kind:
            error = times * (middle - cpu(device).overhead) * spread
            own += error**2
            shared[call.curve] += error
    kernels = (1 - TOGETHER) * own + TOGETHER * sum(error**2 for error in shared.values())
    known = device.curves.get(RUN.curve)
    relative = math.sqrt(kernels) / whole
    reach = math.exp(REACH * math.hypot(relative, known.spread if known else 0.0))
    calls_made = sum(made.values())
    return Measurement(whole, "s", whole / reach, whole * reach, "estimated", calls_made)


def at_threads(device: Device, threads: int) -> Device:
    """A device with the peak that so many threads have.

    Raises:
        DeviceError: it was measured with another number of threads.
    """
    unit = cpu(device)
    if unit.cores is None or unit.cores == threads:
        return device
    if device.kind == "measured":
        raise DeviceError(
            f"'{device.name}' was measured with {unit.cores} threads; for {threads}, measure it "
            f"again: packlight devices measure --threads {threads}"
        )
    one = unit.one_core or 1 / unit.cores
    part = min(1.0, max(one, threads / unit.cores))
    slower = replace(unit, peak={dtype: rate * part for dtype, rate in unit.peak.items()})
    return replace(device, units={**device.units, CPU: slower})
