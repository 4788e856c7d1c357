"""How long a call of a kernel takes: its roofline, times what a curve says, and an overhead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from packlight.backends.onnxruntime.kernel_call import KINDS, RUN, Call
from packlight.errors import DeviceError
from packlight.records.device import Curve, Device, Unit

Floats = NDArray[np.float64]
CPU = "cpu"
REACH = 1.96
"""Standard deviations on each side of a 95 % interval."""

UNMEASURED = 0.7
"""Spread of the logarithm where only shares of the roofline are known: a factor of 4 either way."""


def seconds(call: Call, device: Device) -> tuple[float, float, float]:
    """Low, middle and high end of the time that one call of a kernel takes.

    Args:
        call: the kernel, its data type and the features that decide its speed.
        device: with curves, or with shares of the roofline alone, which give wider intervals.

    Raises:
        DeviceError: the device has no CPU, or does not compute in this data type.
    """
    middle, spread = central(call, device)
    reach = math.exp(REACH * spread)
    fixed = cpu(device).overhead if call.kind != RUN.kind else 0.0
    moving = middle - fixed
    return fixed + moving / reach, middle, fixed + moving * reach


def central(call: Call, device: Device) -> tuple[float, float]:
    """The middle of the time of one call, and the spread of the logarithm of what varies of it."""
    unit = cpu(device)
    least = roofline(call, unit, device.bandwidth)
    curve = device.curves.get(call.curve)
    if curve is None:
        share = unit.share(KINDS[call.kind].family, call.dtype)
        spread = max(UNMEASURED, math.log(share.high / share.low) / 2 / REACH)
        return unit.overhead + least / math.sqrt(share.low * share.high), spread
    real = least * math.exp(float(terms(call.shape, curve) @ np.array(curve.coefficients)))
    return (real if call.kind == RUN.kind else unit.overhead + real), curve.spread


def cpu(device: Device) -> Unit:
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


def roofline(call: Call, unit: Unit, bandwidth: float | None) -> float:
    """The longer of arithmetic at the peak and traffic at the bandwidth.

    A run beyond its kernels is counted in overheads.

    Raises:
        DeviceError: the unit does not compute in this data type.
    """
    if call.kind == RUN.kind:
        return unit.overhead
    traffic = call.moved / bandwidth if bandwidth else 0.0
    return max(arithmetic(call, unit.peak), traffic)


def arithmetic(call: Call, peak: Mapping[str, float]) -> float:
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


def terms(shape: tuple[float, ...], curve: Curve) -> Floats:
    """The terms of a curve's polynomial for one shape, held to the measured range."""
    row = np.array([shape])
    expansion: Floats = expanded(centred(row, np.array(curve.low), np.array(curve.high)))[0]
    return expansion


def centred(shapes: Floats, low: Floats, high: Floats) -> Floats:
    """Features (calls, features) held to a range, which is mapped to -1..1."""
    half = np.where(high > low, (high - low) / 2, 1.0)
    middle: Floats = (np.clip(shapes, low, high) - (low + high) / 2) / half
    return middle


def expanded(features: Floats) -> Floats:
    """1, each feature, and each product of two: (calls, terms)."""
    rows, count = features.shape
    pairs = [features[:, i] * features[:, j]
             for i, j in combinations_with_replacement(range(count), 2)]  # fmt: skip
    return np.column_stack([np.ones(rows), features, *pairs])
