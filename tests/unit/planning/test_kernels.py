"""Times of kernels on a measured device, for choices of how operators compute."""

import math

import numpy as np
import pytest

from packlight.benchmarking import predict_latency
from packlight.compression import compress
from packlight.model import file_size, load
from packlight.planning.cost.kernels import NOWHERE, Kernels
from packlight.planning.feasibility import Planner, Target
from packlight.planning.size.exact_size import Simplified
from packlight.planning.size.files import Files, original_file
from packlight.profiling import profile
from packlight.records import Budget, Citation, Curve, Device, Runtime, Share, Unit, parse_recipe
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info
from packlight.zoo import model_path

SHARES = {name: Share(0.5, 0.5) for name in ("conv", "depthwise", "matmul", "recurrent", "other")}


@pytest.fixture
def machine():
    """A measured device whose kernels all reach half of their roofline, one run apart."""
    figures = {
        "units": {"cpu": Unit(peak={"float32": 1e10, "int8": 4e10}, runtimes=("onnxruntime",),
                              efficiency=SHARES, overhead=1e-6, cores=1)},
        "runtimes": {"onnxruntime": Runtime(("float32", "int8"), "onnxruntime")},
        "bandwidth": 1e10,
        "curves": {"run:float32": Curve((), (), (), (math.log(3),), 0.05, 9)},
    }  # fmt: skip
    sources = dict.fromkeys(figures, Citation("measured", "round figures"))
    return Device(name="here", title="Here", kind="measured", processor="round", **figures,
                  sources=sources)  # fmt: skip


def kernels_of(model, machine):
    found = profile(model, {})
    names = [one.name for one in found.operators]
    return Kernels(model, found, machine, names), names


def nothing(names):
    return np.zeros(len(names), bool)


def flags(names, chosen):
    return np.array([name in chosen for name in names], bool)


def chain():
    """Conv, Relu, Conv, a sum of both, Conv, Softmax."""
    sketch = Sketch(18)
    cut = sketch.add("Relu", sketch.add("Conv", "x", sketch.weight(16, 16, 1, 1)))
    second = sketch.add("Conv", cut, sketch.weight(16, 16, 1, 1))
    third = sketch.add("Conv", sketch.add("Add", cut, second), sketch.weight(16, 16, 1, 1))
    ends = sketch.add("Softmax", third)
    return sketch.model("chain", [value_info("x", (1, 16, 8, 8))], {ends: (1, 16, 8, 8)})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_as_it_is_takes_what_predict_latency_says(name, machine):
    model = NETWORKS[name]()
    found = profile(model, {})
    if found.unknown:
        pytest.skip("a shape is not known")
    kernels, names = kernels_of(model, machine)

    got = kernels.latency(nothing(names), nothing(names))
    said = predict_latency(model, found, machine)
    assert (got.value, got.low, got.high) == pytest.approx((said.value, said.low, said.high))


def test_codes_meet_floats_once_at_each_end_of_what_computes_in_them(machine):
    kernels, names = kernels_of(chain(), machine)
    first, cut, second, joined, third, ends = range(6)

    def met(*chosen):
        codes = [place in chosen for place in range(len(names))] + [False]
        for row, makers in kernels.code_movers:
            codes[row] = all(codes[maker] for maker in makers)
        lies = [(value.maker, value.readers) for value in kernels.values]
        return tuple([lies[i] for i in np.flatnonzero(way)] for way in kernels.conversions(codes))

    assert met(first, second, third) == ([(NOWHERE, (first,))], [(third, (ends,))])
    assert met(first) == ([(NOWHERE, (first,))], [(cut, (second, joined))])
    assert met(second) == ([(cut, (second, joined))], [(second, (joined,))])
    assert met() == ([], [])


@pytest.mark.slow
def test_a_model_in_codes_takes_about_what_the_plan_foretells(machine):
    model = load(str(model_path("fashion")))
    simplify = compress(model, parse_recipe("simplify"), held=0).model
    from packlight import compress as by_recipe
    from packlight.zoo import task

    made = by_recipe(model, "simplify+static", task=task("fashion")).model
    kernels, names = kernels_of(simplify, machine)
    products = {one.name for one in profile(simplify, {}).operators if one.macs}

    told = kernels.latency(flags(names, products), nothing(names)).value
    said = predict_latency(made, profile(made, {}), machine).value
    assert told == pytest.approx(said, rel=0.1)
    assert told < 0.8 * kernels.latency(nothing(names), nothing(names)).value


def test_blocks_of_codes_take_what_the_compressed_model_takes(machine):
    sketch = Sketch(21)
    y = sketch.add("MatMul", "x", sketch.weight(256, 256))
    model = sketch.model("product", [value_info("x", (1, 2, 256))], {y: (1, 2, 256)})
    made = compress(model, parse_recipe("weights:4,block=32")).model
    kernels, names = kernels_of(model, machine)

    told = kernels.latency(nothing(names), ~nothing(names))
    assert told.value == pytest.approx(predict_latency(made, profile(made, {}), machine).value)
    assert told.value < kernels.latency(nothing(names), nothing(names)).value


def test_a_plan_for_a_measured_device_sums_kernels_and_for_others_the_roofline(machine):
    model = chain()
    found = profile(model, {})
    own = original_file(model, file_size(model.graph))
    planner = Planner(Files(Simplified(model)), found, Target(machine, "cpu", Budget()), own)

    assert planner.original().predicted["latency"].value == pytest.approx(
        predict_latency(model, found, machine).value
    )
    described = Planner(
        Files(Simplified(model)), found, Target(without_curves(machine), "cpu", Budget()), own
    )
    assert described.predictor.kernels is None


def without_curves(machine):
    from dataclasses import replace

    kept = {key: value for key, value in machine.sources.items() if key != "curves"}
    return replace(machine, curves={}, sources=kept)
