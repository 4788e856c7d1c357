"""Latency of kernels and models on a device.

A model is taken as the calls of kernels that one run of it makes. A call takes its roofline, times
what a curve says, and an overhead; a model takes the sum of its calls.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.onnxruntime.fusion import Fusion, fuse
from packlight.backends.onnxruntime.kernel_call import BYTES, KINDS, RUN, Call, Dtype
from packlight.backends.onnxruntime.layout import reorders
from packlight.backends.onnxruntime.operator_kernels import KernelOperator, kernel
from packlight.errors import DeviceError
from packlight.model import Model, Shape
from packlight.profiling.counting import Counter
from packlight.profiling.expanded_graph import expand
from packlight.profiling.load_time import constants
from packlight.profiling.shape_values import sizes_of
from packlight.records.device import Curve, Device, Unit
from packlight.records.measurement import Measurement
from packlight.records.profile import Profile

COPIES = ("Identity", "Dropout")
NOTHING: Mapping[str, Shape] = MappingProxyType({})

Floats = NDArray[np.float64]
CPU = "cpu"
REACH = 1.96
"""Standard deviations on each side of a 95 % interval."""

UNMEASURED = 0.7
"""Spread of the logarithm where only shares of the roofline are known: a factor of 4 either way."""

COMMON_VARIANCE = 0.5
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
    return latency_of_calls(kernel_calls(model, profile, seen_shapes), _at_threads(device, threads))


def latency_of_calls(calls: Mapping[Call, int], device: Device) -> Measurement:
    """Seconds that some calls of kernels take one after the other."""
    times = np.array(list(calls.values()), np.float64)
    return CallLatencies(tuple(calls), device).total(times)


class CallLatencies:
    """Seconds of each of some calls, so that the time of any choice among them is a sum.

    Args:
        calls: of kernels.
        device: as for ``predict_latency``.

    Raises:
        DeviceError: the device does not compute in a data type.
    """

    def __init__(self, calls: Sequence[Call], device: Device) -> None:
        centers = np.array([_typical_seconds(call, device) for call in calls]).reshape(-1, 2)
        inside = np.array([call.kind != RUN.kind for call in calls], bool)
        self.seconds = centers[:, 0]
        self.errors = np.where(
            inside, (centers[:, 0] - _cpu_unit(device).overhead) * centers[:, 1], 0.0
        )
        self.curves = np.unique([call.curve for call in calls], return_inverse=True)[1]
        run_curve = device.curves.get(RUN.curve)
        self.model_spread = run_curve.spread if run_curve else 0.0

    def total(self, times: Floats) -> Measurement:
        """Seconds where each call comes so often, one after the other.

        Args:
            times: (calls,).
        """
        seconds_of_kernels = float(self.seconds @ times)
        errors = self.errors * times
        shared = np.bincount(self.curves, errors)
        kernels = (1 - COMMON_VARIANCE) * float(errors @ errors) + COMMON_VARIANCE * float(
            shared @ shared
        )
        reach = math.exp(
            REACH * math.hypot(math.sqrt(kernels) / seconds_of_kernels, self.model_spread)
        )
        low = seconds_of_kernels / reach
        high = seconds_of_kernels * reach
        return Measurement(seconds_of_kernels, "s", low, high, "estimated", int(times.sum()))


def _at_threads(device: Device, threads: int) -> Device:
    """A device with the peak that so many threads have.

    Raises:
        DeviceError: it was measured with another number of threads.
    """
    unit = _cpu_unit(device)
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


def kernel_seconds(call: Call, device: Device) -> tuple[float, float, float]:
    """Low, middle and high end of the time that one call of a kernel takes.

    Args:
        call: the kernel, its data type and the features that decide its speed.
        device: with curves, or with shares of the roofline alone, which give wider intervals.

    Raises:
        DeviceError: the device has no CPU, or does not compute in this data type.
    """
    middle, spread = _typical_seconds(call, device)
    reach = math.exp(REACH * spread)
    fixed = 0.0 if call.kind == RUN.kind else _cpu_unit(device).overhead
    moving = middle - fixed
    return fixed + moving / reach, middle, fixed + moving * reach


def _typical_seconds(call: Call, device: Device) -> tuple[float, float]:
    """The middle of the time of one call, and the spread of the logarithm of what varies of it."""
    unit = _cpu_unit(device)
    least = _roofline_seconds(call, unit, device.bandwidth)
    curve = device.curves.get(call.curve)
    if curve is None:
        share = unit.share(KINDS[call.kind].family, call.dtype)
        spread = max(UNMEASURED, math.log(share.high / share.low) / 2 / REACH)
        return unit.overhead + least / math.sqrt(share.low * share.high), spread
    real = least * math.exp(
        float(polynomial_terms(call.shape, curve) @ np.array(curve.coefficients))
    )
    if call.kind != RUN.kind:
        real += unit.overhead
    return real, curve.spread


def _cpu_unit(device: Device) -> Unit:
    """The unit that was measured.

    Raises:
        DeviceError: there is none.
    """
    if CPU not in device.units:
        raise DeviceError(
            f"latency by kernels is predicted for a CPU; '{device.name}' has "
            f"{', '.join(device.units)}"
        )
    return device.units[CPU]


def _roofline_seconds(call: Call, unit: Unit, bandwidth: float | None) -> float:
    """The longer of arithmetic at the peak and traffic at the bandwidth.

    A run beyond its kernels is counted in overheads.

    Raises:
        DeviceError: the unit does not compute in this data type.
    """
    if call.kind == RUN.kind:
        return unit.overhead
    return max(arithmetic_seconds(call, unit.peak), call.moved / (bandwidth or math.inf))


def arithmetic_seconds(call: Call, peak: Mapping[str, float]) -> float:
    """Seconds of multiply-accumulates at the peak; codes on a unit without them run as floats.

    Raises:
        DeviceError: the unit has no peak that serves.
    """
    if not call.macs:
        return 0.0
    rate = peak.get(call.dtype, peak.get("float32"))
    if rate is None:
        raise DeviceError(f"the unit computes in {', '.join(peak)}, not in {call.dtype}")
    return call.macs / rate


def polynomial_terms(shape: tuple[float, ...], curve: Curve) -> Floats:
    """The terms of a curve's polynomial for one shape, held to the measured range."""
    row = np.array([shape])
    expansion: Floats = expand_features(
        scale_features(row, np.array(curve.low), np.array(curve.high))
    )[0]
    return expansion


def scale_features(shapes: Floats, low: Floats, high: Floats) -> Floats:
    """Map features (calls, features) from a range, to which they are clipped, to -1..1."""
    half = np.where(high > low, (high - low) / 2, 1.0)
    middle: Floats = (np.clip(shapes, low, high) - (low + high) / 2) / half
    return middle


def expand_features(features: Floats) -> Floats:
    """Give 1, each feature, and each product of two: (calls, terms)."""
    rows, count = features.shape
    pairs = [features[:, i] * features[:, j]
             for i, j in combinations_with_replacement(range(count), 2)]  # fmt: skip
    return np.column_stack([np.ones(rows), features, *pairs])


def kernel_calls(
    model: Model, profile: Profile, seen_shapes: Mapping[str, Shape] = NOTHING
) -> Mapping[Call, int]:
    """Calls of kernels in one run of a model, each with how often it comes.

    Args:
        model: the model.
        profile: of it, which says for what shapes of inputs.
        seen_shapes: shapes of values that a run showed.

    Raises:
        ModelError: a shape is not known.
    """
    tally: Tally[Call] = Tally()
    for _, call, times in named_kernel_calls(model, profile, seen_shapes):
        tally[call] += times
    return tally


def named_kernel_calls(
    model: Model, profile: Profile, seen_shapes: Mapping[str, Shape] = NOTHING
) -> list[tuple[str, Call, int]]:
    """Calls of kernels one by one, with the operator that each is called for.

    What is fused counts at the operator that it is fused into, and what lays a value out anew at
    the one that wants it so; the last is what a run takes beyond its kernels, under no name.

    Args:
        model: the model.
        profile: of it, which says for what shapes of inputs.
        seen_shapes: shapes of values that a run showed.

    Raises:
        ModelError: a shape is not known.
    """
    inputs = {name: tuple(n or 1 for n in sizes) for name, sizes in profile.inputs.items()}
    expanded = expand(model, inputs, seen_shapes)
    main = model.graph.graph
    stored = set(main.initializers) - {value.name for value in main.inputs}
    constant = constants(expanded.graph.graph, stored)
    runs = Counter(expanded, constant).runs
    for node in expanded.origin:
        _pass_through(node)
    active = [node for node in expanded.origin if runs.get(node) and _is_read(node)]
    fusion = fuse(active, constant, fixed=_is_fixed(model))
    kernel_calls = [(node, kernel(_kernel_operator(fusion, node))) for node in fusion.kernels()]
    kernel_calls += reorders(fusion)
    moved_in_run = sum(call.moved * runs[node] for node, call in kernel_calls)
    named = [(str(expanded.origin[node].name), call.within(moved_in_run), runs[node])
             for node, call in kernel_calls]  # fmt: skip
    return [*named, ("", RUN, 1)]


def _is_fixed(model: Model) -> bool:
    shapes = [value.shape for value in model.inputs().values()]
    return all(shape is not None and shape.is_static() for shape in shapes)


def _pass_through(node: ir.Node) -> None:
    if node.op_type not in COPIES:
        return
    value = node.inputs[0]
    copy = node.outputs[0]
    if value is not None and not copy.is_graph_output():
        copy.replace_all_uses_with(value)
        node.replace_input_with(0, None)


def _is_read(node: ir.Node) -> bool:
    return any(value.is_graph_output() or value.uses() for value in node.outputs)


def _kernel_operator(fusion: Fusion, node: ir.Node) -> KernelOperator:
    named = fusion.named.get(node, "")
    dtype: Dtype = "float32"
    if node in fusion.integer:
        dtype = "int8"
    weights = dtype
    if named == "MatMulNBits":
        named = "MatMul"
        weights = "int4"
    extra = sum(math.prod(sizes_of(value) or ()) for value in fusion.read.get(node, []))
    return KernelOperator(node, dtype, weights, extra * BYTES[dtype], named)
