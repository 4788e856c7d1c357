"""Latency of a model on a device, predicted kernel by kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from packlight.backends.onnxruntime.kernel_call import RUN, Call
from packlight.benchmarking.kernel_curves import CPU, REACH, Floats, central, cpu
from packlight.benchmarking.kernel_walk import NOTHING, calls
from packlight.errors import DeviceError
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
    return total(calls(model, profile, seen_shapes), _at_threads(device, threads))


def total(calls: Mapping[Call, int], device: Device) -> Measurement:
    """Seconds that some calls of kernels take one after the other."""
    return Priced(tuple(calls), device).total(np.array(list(calls.values()), np.float64))


class Priced:
    """What every one of some calls takes, so that the time of any choice among them is a sum.

    Args:
        made: calls of kernels.
        device: as for ``predict_latency``.

    Raises:
        DeviceError: the device does not compute in a data type.
    """

    def __init__(self, calls: Sequence[Call], device: Device) -> None:
        centers = np.array([central(call, device) for call in calls]).reshape(-1, 2)
        inside = np.array([call.kind != RUN.kind for call in calls], bool)
        self.seconds = centers[:, 0]
        self.errors = np.where(inside, (centers[:, 0] - cpu(device).overhead) * centers[:, 1], 0.0)
        self.curves = np.unique([call.curve for call in calls], return_inverse=True)[1]
        run_curve = device.curves.get(RUN.curve)
        self.whole_models = run_curve.spread if run_curve else 0.0

    def total(self, times: Floats) -> Measurement:
        """Seconds where each call comes so often, one after the other.

        Args:
            times: (calls,).
        """
        seconds_of_kernels = float(self.seconds @ times)
        errors = self.errors * times
        shared = np.bincount(self.curves, errors)
        kernels = (1 - TOGETHER) * float(errors @ errors) + TOGETHER * float(shared @ shared)
        reach = math.exp(
            REACH * math.hypot(math.sqrt(kernels) / seconds_of_kernels, self.whole_models)
        )
        n = int(times.sum())
        return Measurement(
            seconds_of_kernels,
            "s",
            seconds_of_kernels / reach,
            seconds_of_kernels * reach,
            "estimated",
            n,
        )


def _at_threads(device: Device, threads: int) -> Device:
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
    peak_of_core = unit.one_core or 1 / unit.cores
    part = min(1.0, max(peak_of_core, threads / unit.cores))
    slower = replace(unit, peak={dtype: rate * part for dtype, rate in unit.peak.items()})
    return replace(device, units={**device.units, CPU: slower})
