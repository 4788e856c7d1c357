"""How long each operator takes on a device, and what bounds it.

On a described device an operator is a model of its own to the code that predicts whole models; one
side of its roofline is what is left when the other side's work is none. On a measured device it is
the kernels that are called for it.
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
from packlight.planning.cost.predict import Load, Predictor, between, load_of
from packlight.records import Device, Measurement, OperatorCost, Profile
from packlight.records.profile import Bound
from packlight.sources.device_unit import device_and_unit


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator takes on a device.

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
        """What the time is bound by."""
        if self.time.value == 0:
            return "nothing"
        sides = {"arithmetic": self.arithmetic, "memory": self.memory}
        longer: Bound = "arithmetic" if self.arithmetic >= self.memory else "memory"
        return "overhead" if self.overhead > sides[longer] else longer


NOTHING = Limits(Measurement(0.0, "s", 0.0, 0.0, "estimated", 1), 0.0, 0.0, 0.0)
"""Those of an operator that no kernel is called for."""


def target_of(device: str | Path | Device, unit: str) -> tuple[Device, str] | None:
    """A device and the unit of it that computes; None where none is named.

    Raises:
        InputError: there is no such device or unit, or a unit of no device is named.
    """
    if not device:
        if unit:
            raise InputError(f"a unit is one of a device: name it with --device; got only '{unit}'")
        return None
    return device_and_unit(device, unit)


def with_bounds(found: Profile, model: Model, device: Device, unit: str) -> Profile:
    """A profile with predicted times of operators on a device, and what bounds each.

    Args:
        found: what the operators cost.
        model: the model.
        device: measured, which its CPU's kernels are predicted by, or described.
        unit: of it, that computes.

    Raises:
        ModelError: a shape is not known.
        DeviceError: the device does not compute what the model needs.
    """
    if device.curves and unit == CPU:
        limits = measured_limits(found, model, device)
        whole = {"latency": predict_latency(model, found, device, device.units[unit].cores or 1)}
    else:
        load = load_of(model.graph, found)
        limits = dict(described_limits(load, device, unit))
        predictor = Predictor(load, device, unit)
        whole = predictor.latency(predictor.plain)
    totals = {"predicted_latency": whole["latency"]} if "latency" in whole else {}
    operators = (bounded(one, limits.get(one.name)) for one in found.operators)
    return replace(
        found,
        operators=tuple(operators),
        totals={**found.totals, **totals},
        device=f"{device.name}, {unit}",
    )


def bounded(one: OperatorCost, limits: Limits | None) -> OperatorCost:
    """An operator with what it takes on a device; nothing is said where its cost is not known."""
    if limits is None or one.macs is None or one.activation_bytes is None:
        return one
    return replace(one, predicted=limits.time, bound=limits.bound)


def described_limits(load: Load, device: Device, unit: str) -> Iterator[tuple[str, Limits]]:
    """Limits of each operator by its name, on a unit that is described."""
    none = np.zeros(1)
    for place, name in enumerate(load.names):
        if not load.calls[place]:
            yield name, NOTHING
            continue
        one = single(load, place)
        call = ends(replace(one, macs=none, numbers=none, weights=none), device, unit)
        product = ends(replace(one, numbers=none, weights=none), device, unit)
        traffic = ends(replace(one, macs=none), device, unit)
        yield name, Limits(
            between(*ends(one, device, unit), "s"), beyond(product, call), beyond(traffic, call),
            between(*call, "s").value,
        )  # fmt: skip


def single(load: Load, place: int) -> Load:
    """One operator of a load, as a load."""
    at = slice(place, place + 1)
    return replace(
        load, names=load.names[at], families=load.families[at], dtypes=load.dtypes[at],
        macs=load.macs[at], numbers=load.numbers[at], weights=load.weights[at],
        calls=load.calls[at], unknown=0,
    )  # fmt: skip


def ends(load: Load, device: Device, unit: str) -> tuple[float, float]:
    """The least and the most seconds of a load."""
    predictor = Predictor(load, device, unit)
    return predictor.seconds(predictor.plain)


def beyond(whole: tuple[float, float], call: tuple[float, float]) -> float:
    """Seconds beyond those of the call, in the middle of their interval."""
    return between(whole[0] - call[0], whole[1] - call[1], "s").value


def measured_limits(found: Profile, model: Model, device: Device) -> Mapping[str, Limits]:
    """Limits of each operator by its name, on the CPU of a device with curves.

    An operator without kernels is fused into another, or computed when the model is loaded.
    """
    made: dict[str, list[tuple[Call, int]]] = defaultdict(list)
    for name, call, times in named_kernel_calls(model, found):
        made[name].append((call, times))
    return {
        one.name: of_calls(made[one.name], device) if one.name in made else NOTHING
        for one in found.operators
    }


def of_calls(made: Sequence[tuple[Call, int]], device: Device) -> Limits:
    """Limits of some kernels, each with how often it is called; their errors are taken as one."""
    unit = device.units[CPU]
    low, middle, high = np.array([[times * end for end in kernel_seconds(call, device)]
                                  for call, times in made]).sum(axis=0)  # fmt: skip
    return Limits(
        Measurement(middle, "s", low, high, "estimated", sum(times for _, times in made)),
        sum(times * arithmetic_seconds(call, unit.peak) for call, times in made),
        sum(times * call.moved / (device.bandwidth or np.inf) for call, times in made),
        sum(times * unit.overhead for _, times in made),
    )
