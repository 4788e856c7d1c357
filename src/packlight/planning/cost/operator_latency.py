"""Predicted latency of each operator on a device, and what bounds it.

On a described device an operator is predicted as a model of one operator; one side of its roofline
is its latency without the other side's work. On a measured device it is the sum of its kernels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from packlight.backends.onnxruntime.kernel_call import Call
from packlight.benchmarking import kernel_seconds, named_kernel_calls, predict_latency
from packlight.benchmarking.latency import CPU, arithmetic_seconds
from packlight.errors import InputError
from packlight.model import Model
from packlight.planning.cost.predict import Predictor, Workload, estimate_between, workload_of
from packlight.records import Device, Measurement, OperatorCost, Profile
from packlight.records.profile import Bound
from packlight.sources.device_unit import device_and_unit


@dataclass(frozen=True, slots=True)
class LatencyBounds:
    """Latency of an operator on a device, with its bounds.

    Attributes:
        time: seconds.
        arithmetic: seconds that its arithmetic alone takes.
        memory: seconds that its traffic alone takes.
        overhead: seconds of calling its kernels.
    """

    time: Measurement
    arithmetic: float
    memory: float
    overhead: float

    @property
    def bound(self) -> Bound:
        """The largest part of the latency."""
        if self.time.value == 0:
            return "nothing"
        parts: Mapping[Bound, float] = {
            "arithmetic": self.arithmetic, "memory": self.memory, "overhead": self.overhead,
        }  # fmt: skip
        return max(parts, key=lambda part: parts[part])


NOTHING = LatencyBounds(Measurement(0.0, "s", 0.0, 0.0, "estimated", 1), 0.0, 0.0, 0.0)
"""Of an operator that no kernel is called for."""


def device_target(device: str | Path | Device, unit: str) -> tuple[Device, str] | None:
    """A device and the unit of it that computes; None where none is named.

    Raises:
        InputError: there is no such device or unit, or a unit of no device is named.
    """
    if not device:
        if unit:
            raise InputError(f"a unit is one of a device: name it with --device; got only '{unit}'")
        return None
    return device_and_unit(device, unit)


def with_latency_bounds(profile: Profile, model: Model, device: Device, unit: str) -> Profile:
    """Add predicted latencies on a device to a profile, what bounds each, and the peak memory.

    Args:
        profile: of the model.
        model: the model.
        device: measured, so that curves of its CPU's kernels predict it, or described.
        unit: of the device, that computes.

    Raises:
        ModelError: a shape is not known.
        DeviceError: the device does not compute what the model needs.
    """
    totals = dict(profile.totals)
    workload = workload_of(model.graph, profile)
    predictor = Predictor(workload, device, unit)
    if "size" in totals:
        memory = predictor.memory(predictor.original, totals["size"])
        if memory:
            totals["predicted_memory"] = memory["peak_memory"]
    if device.curves and unit == CPU:
        bounds = measured_bounds(profile, model, device)
        cores = device.units[unit].cores or 1
        totals["predicted_latency"] = predict_latency(model, profile, device, cores)
    else:
        bounds = dict(described_bounds(workload, device, unit))
        predicted = predictor.latency(predictor.original)
        if predicted:
            totals["predicted_latency"] = predicted["latency"]
    operators = (_bounded(cost, bounds.get(cost.name)) for cost in profile.operators)
    name = f"{device.name}, {unit}"
    return replace(profile, operators=tuple(operators), totals=totals, device=name)


def _bounded(cost: OperatorCost, bounds: LatencyBounds | None) -> OperatorCost:
    """Add the latency on a device to an operator, where its cost is known."""
    if bounds is None or cost.macs is None or cost.activation_bytes is None:
        return cost
    return replace(cost, predicted=bounds.time, bound=bounds.bound)


def described_bounds(
    workload: Workload, device: Device, unit: str
) -> Iterator[tuple[str, LatencyBounds]]:
    """Latency bounds of each operator by its name, on a described unit."""
    zero = np.zeros(1)
    for row, name in enumerate(workload.names):
        if not workload.calls[row]:
            yield name, NOTHING
            continue
        operator = single_operator(workload, row)
        no_traffic = replace(operator, numbers=zero, weights=zero)
        call = seconds_of(replace(no_traffic, macs=zero), device, unit)
        product = seconds_of(no_traffic, device, unit)
        traffic = seconds_of(replace(operator, macs=zero), device, unit)
        yield (
            name,
            LatencyBounds(
                estimate_between(*seconds_of(operator, device, unit), "s"),
                seconds_beyond(product, call),
                seconds_beyond(traffic, call),
                estimate_between(*call, "s").value,
            ),
        )


def single_operator(workload: Workload, row: int) -> Workload:
    """Work of one operator."""
    at = slice(row, row + 1)
    return replace(
        workload, names=workload.names[at], families=workload.families[at],
        dtypes=workload.dtypes[at], macs=workload.macs[at], numbers=workload.numbers[at],
        weights=workload.weights[at], calls=workload.calls[at], unknown=0,
    )  # fmt: skip


def seconds_of(workload: Workload, device: Device, unit: str) -> tuple[float, float]:
    """The least and the most seconds of a workload."""
    predictor = Predictor(workload, device, unit)
    return predictor.seconds(predictor.original)


def seconds_beyond(span: tuple[float, float], call: tuple[float, float]) -> float:
    """Seconds beyond those of the call, in the middle of their interval."""
    return estimate_between(span[0] - call[0], span[1] - call[1], "s").value


def measured_bounds(profile: Profile, model: Model, device: Device) -> Mapping[str, LatencyBounds]:
    """Latency bounds of each operator by its name, on the CPU of a device with curves.

    An operator without kernels is fused into another, or computed when the model is loaded.
    """
    calls: dict[str, list[tuple[Call, int]]] = defaultdict(list)
    for name, call, times in named_kernel_calls(model, profile):
        calls[name].append((call, times))
    bounds = dict.fromkeys((cost.name for cost in profile.operators), NOTHING)
    bounds |= {name: kernel_bounds(calls[name], device) for name in bounds if name in calls}
    return bounds


def kernel_bounds(calls: Sequence[tuple[Call, int]], device: Device) -> LatencyBounds:
    """Latency bounds of kernels, each with its number of calls; their errors add up."""
    unit = device.units[CPU]
    low, middle, high = np.array([[times * end for end in kernel_seconds(call, device)]
                                  for call, times in calls]).sum(axis=0)  # fmt: skip
    return LatencyBounds(
        Measurement(middle, "s", low, high, "estimated", sum(times for _, times in calls)),
        sum(times * arithmetic_seconds(call, unit.peak) for call, times in calls),
        sum(times * call.moved / (device.bandwidth or np.inf) for call, times in calls),
        sum(times * unit.overhead for _, times in calls),
    )
