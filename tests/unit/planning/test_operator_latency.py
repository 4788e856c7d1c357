"""What bounds each operator: by hand on a described device, by its kernels on a measured one."""

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

import packlight
from packlight import zoo
from packlight.benchmarking import kernel_seconds, named_kernel_calls
from packlight.errors import DeviceError, InputError, RecipeError
from packlight.model import Model, load
from packlight.records import Citation, Curve, Share

MAC, BANDWIDTH, OVERHEAD = 1e9, 1e8, 1e-4
"""Multiply-accumulates a second, bytes a second, and seconds a call, of the device below."""


def device():
    """A phone with round figures, whose kernels reach between 0.25 and 1 of the roofline."""
    known = packlight.load_device("pixel-8")
    cpu = known.units["cpu"]
    shares = dict.fromkeys(cpu.efficiency, Share(0.25, 1.0))
    unit = replace(cpu, peak={"float32": MAC}, efficiency=shares, overhead=OVERHEAD)
    return replace(known, units={"cpu": unit}, bandwidth=BANDWIDTH)


def measured():
    """The same with the time of a run, as a device that was measured has it."""
    cited = Citation("measured", "a test")
    curves = {"run:float32": Curve((), (), (), (math.log(3),), 0.05, 9)}
    known = device()
    unit = replace(known.units["cpu"], cores=1, one_core=None)
    sources = {**known.sources, "curves": cited, "units": cited}
    return replace(known, kind="measured", curves=curves, sources=sources, units={"cpu": unit})


def network():
    """A product with an activation, a change of sign, a new shape, and one of two numbers."""
    proto = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> '
        "g (float[100,300] x, float[2] v) => (float[200,100] y, float[2] z) "
        "{ [product] a = MatMul(x, w) [cut] b = Relu(a) [sign] c = Neg(b) [form] y = Reshape(c, s) "
        "[small] z = Neg(v) }"
    )
    for name, array in {"w": np.ones((300, 200), np.float32), "s": np.array([200, 100])}.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return Model(ir.from_proto(proto), "g")


def test_each_operator_takes_the_longer_side_of_the_roofline_and_a_call():
    found = packlight.profile(network(), device=device())

    assert found.device == "pixel-8, cpu"
    assert [(one.name, one.bound) for one in found.operators] == [
        ("product", "arithmetic"), ("cut", "nothing"), ("sign", "memory"), ("form", "nothing"),
        ("small", "overhead"),
    ]  # fmt: skip
    least = {
        "product": 100 * 300 * 200 / MAC,  # its traffic takes 4.4 ms, less than 6
        "sign": 2 * 100 * 200 * 4 / BANDWIDTH,
        "small": 2 * 2 * 4 / BANDWIDTH,
    }
    for one in found.operators:
        low = least[one.name] + OVERHEAD / 2 if one.name in least else 0
        high = 4 * least[one.name] + 2 * OVERHEAD if one.name in least else 0
        assert one.predicted.low == pytest.approx(low)
        assert one.predicted.high == pytest.approx(high)
        assert one.predicted.how == "estimated"
    whole = found.totals["predicted_latency"]
    assert sum(one.predicted.low for one in found.operators) == pytest.approx(whole.low)
    assert sum(one.predicted.high for one in found.operators) == pytest.approx(whole.high)


@pytest.mark.parametrize("name", ["pixel-8", "stm32h7", "browser-wasm"])
def test_the_operators_of_a_described_device_add_up_to_what_plan_says(name):
    simplify = packlight.compress("zoo:fashion", "simplify").model

    found = packlight.profile(simplify, device=name)
    (original, *_) = packlight.plan("zoo:fashion", device=name).options

    assert found.totals["predicted_latency"] == original.predicted["latency"]
    low = sum(one.predicted.low for one in found.operators)
    assert low == pytest.approx(original.predicted["latency"].low)


@pytest.mark.parametrize("name", ["pixel-8", "stm32h7", "x86-laptop-vnni"])
def test_the_memory_of_a_profile_is_that_of_plan(name):
    simplified = packlight.compress("zoo:fashion", "simplify").model
    profile = packlight.profile(simplified, device=name)
    plan = packlight.plan("zoo:fashion", device=name)

    memory = profile.totals["predicted_memory"]
    assert memory.low == pytest.approx(plan.original["peak_memory"].low, rel=0.02)
    assert memory.high == pytest.approx(plan.original["peak_memory"].high, rel=0.02)


def test_a_measured_device_is_asked_kernel_by_kernel():
    model = load(zoo.model_path("fashion"))
    known = measured()

    found = packlight.profile(model, device=known)

    by_name = {one.name: one for one in found.operators}
    alone = {}
    for name, call, times in named_kernel_calls(model, found):
        if name:
            alone[name] = alone.get(name, 0.0) + times * kernel_seconds(call, known)[1]
    assert {name for name, one in by_name.items() if one.bound == "nothing"} == set(by_name) - set(
        alone
    )
    for name, time in alone.items():
        assert by_name[name].predicted.value == pytest.approx(time)
    assert {one.bound for one in found.operators} == {"nothing", "memory", "overhead"}
    rest = found.totals["predicted_latency"].value - sum(alone.values())
    assert rest == pytest.approx(3 * OVERHEAD)


def test_an_operator_of_unknown_cost_has_no_bound():
    proto = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17, "other" : 1]> '
        "g (float[4] x) => (float[4] y) { [a] b = Relu(x) [b] y = other.Strange(b) }"
    )
    found = packlight.profile(Model(ir.from_proto(proto), "g"), device="pixel-8")

    assert [(one.bound, one.predicted is None) for one in found.operators] == [
        ("overhead", False), ("", True),
    ]  # fmt: skip
    assert "predicted_latency" not in found.totals


def test_without_a_device_nothing_is_predicted():
    found = packlight.profile("zoo:fashion")

    assert found.device == ""
    assert {(one.predicted, one.bound) for one in found.operators} == {(None, "")}


@pytest.mark.parametrize(
    ("error", "told", "options"),
    [
        (DeviceError, "there is no device 'pixel-9'", {"device": "pixel-9"}),
        (RecipeError, "there is no 'npu'", {"device": "pixel-8", "unit": "npu"}),
        (InputError, "name it with --device", {"unit": "npu"}),
    ],
)
def test_a_device_or_unit_that_there_is_not_is_refused_in_a_sentence(error, told, options):
    with pytest.raises(error, match=told):
        packlight.profile("zoo:fashion", **options)
