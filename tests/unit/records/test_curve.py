"""Curves of a device hold only as polynomials of degree 2, and say where they are from."""

from dataclasses import replace

import pytest

from packlight.errors import DeviceError
from packlight.records import Citation, Curve, Device, Runtime, Share, Unit, from_json, to_json
from packlight.records.device_checks import FAMILIES

SAID = Citation("measured", "here, today")
CURVE = Curve(
    ("rows", "columns"), (1.0, 0.0), (5.0, 0.0), (-0.5, 0.1, 0.2, 0.0, 0.0, -3.0), 0.1, 12
)
UNIT = Unit({"float32": 1e9}, ("litert",), dict.fromkeys(FAMILIES, Share(0.1, 1.0)), 1e-6)
DEVICE = Device(
    name="here", title="Here", kind="measured", processor="1 core", units={"cpu": UNIT},
    runtimes={"litert": Runtime(("float32",), "litert")},
    sources=dict.fromkeys(("units", "runtimes", "curves"), SAID),
    curves={"matmul:float32": CURVE},
)  # fmt: skip


def test_a_device_with_curves_reads_back():
    assert from_json(Device, to_json(DEVICE)) == DEVICE
    assert DEVICE.source("curves.matmul:float32") is SAID


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"coefficients": (1.0,)}, "of 2 features are 6; got 1"),
        ({"low": (1.0,)}, "must have a 'low' and a 'high' for each of its 2 features"),
        ({"low": (6.0, 0.0)}, "must rise from 'low' to 'high' in every feature"),
        ({"high": (5.0, float("inf"))}, "must hold finite numbers"),
        ({"spread": 0.0}, "must have a finite 'spread' and an 'n' above 0; got 0.0 and 12"),
        ({"n": 0}, "must have a finite 'spread' and an 'n' above 0; got 0.1 and 0"),
    ],
)
def test_what_is_no_curve_is_refused(changes, sentence):
    with pytest.raises(DeviceError, match=f"'curves.matmul:float32.*{sentence}"):
        replace(DEVICE, curves={"matmul:float32": replace(CURVE, **changes)})


def test_curves_need_a_source_and_a_cpu():
    with pytest.raises(DeviceError, match=r"every figure needs a source: .* 'curves.matmul:float"):
        replace(DEVICE, sources=dict.fromkeys(("units", "runtimes"), SAID))
    with pytest.raises(DeviceError, match="'curves' are of the unit 'cpu', which this device"):
        replace(DEVICE, units={"gpu": UNIT})
