"""Costs on a device that is only described, against figures by hand."""

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from packlight.compression import compress
from packlight.devices import load_device
from packlight.model import Model, name_operators
from packlight.planning.cost.predict import (
    Precision,
    Predictor,
    Workload,
    custom_operators,
    model_functions,
    unsupported_operators,
    workload_of,
)
from packlight.profiling import profile
from packlight.records import Citation, Device, Energy, Runtime, Share, Unit, counted, parse_recipe
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info

SIZE = counted(1000.0, "B")
EVEN = {name: Share(0.5, 1.0) for name in ("conv", "depthwise", "matmul", "recurrent", "other")}


def described(**changes):
    """A device of round figures: 1e9 MAC/s, 1e9 B/s, half to all of the roofline."""
    unit = Unit(
        peak={"float32": 1e9, "int8": 4e9}, runtimes=("litert",), efficiency=EVEN, overhead=1e-6
    )
    plain = {
        "units": {"cpu": unit},
        "runtimes": {"litert": Runtime(("float32", "int8"), "litert")},
        "bandwidth": 1e9,
        "energy": Energy(mac={"float32": 1e-12, "int8": 1e-13}, byte=1e-11),
    }
    figures = {name: value for name, value in {**plain, **changes}.items() if value is not None}
    return Device(
        name="round",
        title="Round",
        kind="datasheet",
        processor="none",
        **figures,
        sources=dict.fromkeys(figures, Citation("assumed", "round figures")),
    )


def load(**changes):
    """One product of 1e6 MACs that moves next to nothing, and a sum that moves 4e6 bytes."""
    plain = Workload(
        names=("product", "sum"),
        families=("matmul", "other"),
        dtypes=("float32", "float32"),
        macs=np.array([1e6, 0.0]),
        numbers=np.array([0.0, 1e6]),
        weights=np.array([100.0, 0.0]),
        calls=np.array([1.0, 1.0]),
        arena=1e5,
        stored=100.0,
        unknown=0,
    )
    return replace(plain, **changes)


def test_an_operator_takes_the_longer_of_its_arithmetic_and_its_traffic():
    predictor = Predictor(load(), described(), "cpu")

    found = predictor.latency(predictor.original)["latency"]

    arithmetic, traffic, calls = 1e6 / 1e9, 4e6 / 1e9, 2e-6
    assert found.low == pytest.approx(arithmetic + traffic + calls / 2)
    assert found.high == pytest.approx(2 * (arithmetic + traffic) + calls * 2)
    assert found.how == "estimated"
    assert predictor.memory_share() == pytest.approx(4 / 5)


def test_integers_compute_faster_and_move_a_quarter():
    predictor = Predictor(load(), described(), "cpu")

    found = predictor.latency(Precision(("int8", "int8"), np.array([1.0, 1.0])))

    assert found["latency"].low == pytest.approx(0.25e-3 + 1e-3 + 1e-6)
    assert found["latency_ratio"].high < 1


def test_what_is_computed_as_before_takes_as_long_as_before():
    predictor = Predictor(load(), described(), "cpu")

    same = predictor.latency(Precision(("float32", "float32"), np.array([4.0, 4.0])))

    assert same["latency_ratio"].low < 1 < same["latency_ratio"].high
    assert same["latency_ratio"].high - same["latency_ratio"].low < 0.1


def test_a_type_that_no_runtime_computes_in_is_computed_in_float32():
    predictor = Predictor(load(), described(), "cpu")

    half = predictor.seconds(Precision(("float16", "float16"), np.array([4.0, 4.0])))

    assert predictor.computes("float16") == "float32"
    assert half == predictor.seconds(predictor.original)


def test_operators_that_are_fused_or_done_at_load_cost_nothing():
    predictor = Predictor(load(calls=np.array([1.0, 0.0])), described(), "cpu")

    assert predictor.seconds(predictor.original)[0] == pytest.approx(1e-3 + 0.5e-6)


def test_energy_is_that_of_arithmetic_and_traffic_with_room_for_instructions():
    predictor = Predictor(load(), described(), "cpu")

    found = predictor.energy(predictor.original)["energy"]

    by_hand = 1e6 * 1e-12 + (4e6 + 400) * 1e-11
    assert (found.low, found.high) == (pytest.approx(by_hand / 2), pytest.approx(by_hand * 20))
    assert predictor.energy(Precision(("int8", "int8"), np.ones(2)))["energy"].high < found.high


def test_memory_on_a_microcontroller_is_for_activations_alone():
    small = described(
        units={"cpu": replace(described().units["cpu"], runtimes=("tflite-micro",))},
        runtimes={"tflite-micro": Runtime(("float32", "int8"), "tflite-micro")},
    )

    micro = Predictor(load(), small, "cpu").memory(Precision(("int8", "int8"), np.ones(2)), SIZE)
    large = Predictor(load(), described(), "cpu").memory(
        Precision(("int8", "int8"), np.ones(2)), SIZE
    )

    assert micro["peak_memory"].low == pytest.approx(1e5 / 4)
    assert large["peak_memory"].low == pytest.approx(1e5 / 4 + 100)


def test_what_is_not_known_is_not_predicted():
    blind = Predictor(load(unknown=1, arena=math.nan), described(energy=None), "cpu")

    assert blind.costs(blind.original, SIZE) == {}


def test_without_a_bandwidth_arithmetic_alone_counts():
    predictor = Predictor(load(), described(bandwidth=None), "cpu")

    assert predictor.seconds(predictor.original)[0] == pytest.approx(1e-3 + 1e-6)


@pytest.mark.parametrize("name", ["residual-17", "lstm-13", "attention-17"])
def test_more_bandwidth_or_peak_never_takes_longer(name):
    model = NETWORKS[name]()
    work = workload_of(model.graph, profile(model, {}))
    slow = described()
    unit = slow.units["cpu"]
    fast = described(bandwidth=2e9, units={"cpu": replace(unit, peak={"float32": 3e9})})

    before, after = (Predictor(work, one, "cpu") for one in (slow, fast))

    assert after.seconds(after.original) < before.seconds(before.original)
    assert sum(work.macs) == sum(o.macs or 0 for o in profile(model, {}).operators)


LOOP = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4] x) => (float[2,4] y) <int64 m = {5}> {
    [around] y = Loop (m, , x) <body = b (int64 i, bool go, float[2,4] s)
        => (bool on, float[2,4] t) { on = Identity(go) [inside] t = MatMul(s, w) }>
}"""


def test_what_a_loop_repeats_counts_as_often_as_it_runs():
    proto = parser.parse_model(LOOP)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4, 4), np.float32), "w"))
    model = Model(ir.from_proto(proto), "loop")
    name_operators(model.graph)

    work = workload_of(model.graph, profile(model, {}))

    place = work.names.index("inside")
    assert work.macs[place] == 5 * 2 * 4 * 4
    assert work.numbers[place] == 5 * (2 * 4 + 2 * 4)
    assert work.weights[place] == 5 * 4 * 4
    assert work.stored >= 4 * 4


def test_an_activation_after_a_convolution_is_no_call_and_one_after_a_sum_is():
    net = Sketch(17)
    value = net.add("Relu", net.add("Conv", "x", net.weight(4, 3, 3, 3)))
    value = net.add("Relu", net.add("Add", value, value))
    model = net.model("two", [value_info("x", [1, 3, 8, 8])], {value: [1, 4, 6, 6]})

    work = workload_of(model.graph, profile(model, {}))

    calls = dict(zip(work.names, work.calls, strict=True))
    relus = [name for name in calls if "relu" in name]
    assert [calls[name] for name in relus] == [0.0, 1.0]


def test_operators_that_no_runtime_has_are_named():
    net = Sketch(17)
    value = net.add("Det", "x")
    model = net.model("odd", [value_info("x", [4, 4])], {value: []})

    found = list(unsupported_operators(load_device("stm32h7"), "cpu", profile(model, {}), ()))

    assert [op for _, op in found] == ["Det"]


def of_domain(domain, op):
    """A model whose one operator is of a domain, and its profile."""
    net = Sketch(17)
    model = net.model("odd", [value_info("x", [1, 64])], {net.add("Gelu", "x"): [1, 64]})
    (node,) = model.graph.graph
    node.domain, node.op_type = domain, op
    model.graph.opset_imports[domain] = 1
    return model, profile(model, {})


@pytest.mark.parametrize(
    ("name", "unit", "domain", "lacking", "unknown"),
    [
        ("stm32h7", "cpu", "com.microsoft", True, False),
        ("iphone-15-pro", "npu", "com.microsoft", True, False),
        ("pixel-8", "cpu", "com.microsoft", False, False),
        ("stm32h7", "cpu", "acme", True, False),
        ("pixel-8", "cpu", "acme", False, True),
    ],
)
def test_operators_of_other_domains_run_where_a_runtime_has_them(
    name, unit, domain, lacking, unknown
):
    model, found = of_domain(domain, "Gelu")
    described = load_device(name)

    own = model_functions(model.graph)
    assert [op for _, op in unsupported_operators(described, unit, found, own)] == [
        f"{domain}.Gelu"
    ] * lacking
    assert custom_operators(described, unit, found, own) == (f"{domain}.Gelu",) * unknown


def test_functions_of_the_models_own_run_everywhere():
    model = compress(NETWORKS["perceptron-21"](), parse_recipe("weights:4")).model
    own = model_functions(model.graph)
    found = profile(model, {})

    assert own & {one.op for one in found.operators}
    assert [
        op
        for _, op in unsupported_operators(load_device("stm32h7"), "cpu", found, own)
        if op in own
    ] == []
    assert custom_operators(load_device("pixel-8"), "cpu", found, own) == ()
