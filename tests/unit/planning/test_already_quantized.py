"""What a model that is quantized already costs as it is, against what planning it foretold."""

import numpy as np
import pytest

import packlight
from packlight.compression import compress
from packlight.model import load
from packlight.planning.already_quantized import integer_operators
from packlight.planning.cost.predict import workload_of
from packlight.profiling import profile
from packlight.records import StoredFloat16, parse_recipe
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info
from packlight.zoo import model_path, task

DEVICE = "raspberry-pi-5"
COSTS = ("latency", "peak_memory", "energy")


@pytest.fixture(scope="module")
def integers():
    return packlight.compress("zoo:fashion", "simplify+static", task=task("fashion")).model


@pytest.fixture(scope="module")
def foretold():
    return packlight.plan("zoo:fashion", (), DEVICE)


def route(plan, recipe):
    return next(option for option in plan.options if option.recipe == recipe)


@pytest.mark.slow
def test_a_model_in_integers_costs_what_the_route_to_it_was_said_to_cost(integers, foretold):
    plan = packlight.plan(integers, (), DEVICE)

    said = route(foretold, "static+weights:8").predicted
    for cost in COSTS:
        assert plan.original[cost].value == pytest.approx(said[cost].value, rel=0.05)
        assert plan.original[cost].value < foretold.original[cost].value / 1.5


def test_codes_that_are_restored_at_load_cost_what_floats_cost(foretold):
    plan = packlight.plan(packlight.compress("zoo:fashion", "simplify+weights:8").model, (), DEVICE)

    said = route(foretold, "weights:8").predicted
    for cost in COSTS:
        assert plan.original[cost].value == pytest.approx(said[cost].value, rel=0.05)


@pytest.mark.parametrize("recipe", ["static+weights:8", "weights:8", "weights:4,block=32"])
def test_what_is_quantized_is_not_promised_again(integers, recipe):
    plan = packlight.plan(integers, ["size<=2MB"], DEVICE)

    option = route(plan, recipe)
    assert option.changed == 0
    assert option.predicted["latency_ratio"].low < 1 < option.predicted["latency_ratio"].high
    codes = {refusal.code for refusal in option.refusals}
    assert "already-integer" in codes
    assert codes <= {"already-integer", "already-quantized"}  # the latter of scales
    assert option.notes == ("It changes nothing: 24 operators are quantized already.",)
    assert "8-bit integers:" not in " ".join(plan.recommendation)


def test_weights_in_codes_are_not_promised_again():
    coded = compress(load(str(model_path("fashion"))), parse_recipe("simplify+weights:8"))
    halves = [change for change in coded.changes if isinstance(change.storage, StoredFloat16)]

    option = route(packlight.plan(coded.model, (), DEVICE), "weights:4,block=32")

    assert option.changed == len(halves)
    assert "already-quantized" in {refusal.code for refusal in option.refusals}


def codes(net, *shape, dtype=np.int8):
    return net.keep(net.random.integers(0, 100, shape).astype(dtype), "codes")


def number(net, value, dtype=np.float32):
    return net.keep(np.array(value, dtype), "scale")


def as_operators(kind):
    """One product of 64 x 512 by 512 x 256 between codes, by operators that say so."""
    net = Sketch(17)
    scale, zero = number(net, 0.1), number(net, 0, np.uint8)
    read = net.add("QuantizeLinear", "x", scale, zero)
    if kind == "QLinearMatMul":
        signed = number(net, 0, np.int8)
        given = net.add(kind, read, scale, zero, codes(net, 512, 256), scale, signed, scale, zero)
        given = net.add("DequantizeLinear", given, scale, zero)
    else:
        given = net.add("Cast", net.add(kind, read, codes(net, 512, 256), zero), to=1)
    return net.model("product", [value_info("x", (64, 512))], {given: (64, 256)})


@pytest.mark.parametrize("kind", ["QLinearMatMul", "MatMulInteger"])
def test_operators_of_integers_compute_in_integers_and_read_what_is_stored(kind):
    model = as_operators(kind)
    work = workload_of(model.graph, profile(model, {}))

    place = next(at for at, one in enumerate(work.names) if kind.lower() in one)
    given = {"QLinearMatMul": 1, "MatMulInteger": 4}[kind] * 64 * 256
    assert work.dtypes[place] == "int8"
    assert work.numbers[place] == 64 * 512 + given
    assert work.weights[place] * 4 == pytest.approx(512 * 256, abs=32)
    plan = packlight.plan(model, (), DEVICE)
    assert plan.original["latency"].value < plain().original["latency"].value
    assert plan.original["energy"].value < plain().original["energy"].value


def plain():
    """The same product of floats, planned."""
    net = Sketch(17)
    given = net.add("MatMul", "x", net.weight(512, 256))
    model = net.model("product", [value_info("x", (64, 512))], {given: (64, 256)})
    return packlight.plan(model, (), DEVICE)


def restored_first():
    """Two products in integers whose weights are all restored before either, as ONNX Runtime's
    quantizer writes them."""
    net = Sketch(17)
    scale, zero, signed = number(net, 0.1), number(net, 0, np.uint8), number(net, 0, np.int8)
    weights = [net.add("DequantizeLinear", codes(net, 256, 256), scale, signed) for _ in range(2)]
    value = "x"
    for weight in weights:
        for op in ("QuantizeLinear", "DequantizeLinear"):
            value = net.add(op, value, scale, zero)
        value = net.add("MatMul", value, weight)
    for op in ("QuantizeLinear", "DequantizeLinear"):
        value = net.add(op, value, scale, zero)
    return net.model("first", [value_info("x", (2, 256))], {value: (2, 256)})


def test_weights_that_no_kernel_restores_take_no_memory_for_activations():
    model = restored_first()

    found = integer_operators(model.graph, profile(model, {}))

    assert profile(model, {}).totals["arena_bytes"].value > 2 * 4 * 256 * 256
    assert found.arena == 4 * 512 + 512  # the input in floats, and its codes
    assert {name.split("_")[0] for name in found.by_pairs} == {"matmul"}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_model_of_floats_computes_in_floats(name):
    model = NETWORKS[name]()

    found = integer_operators(model.graph, profile(model, {}))

    assert not found.all


def test_who_plans_what_is_quantized_is_sent_to_the_float_model_where_it_does_not_fit(integers):
    sentence = "24 of its operators are quantized already, and no route quantizes an operator twice"

    misses = packlight.plan(integers, ["size<=400kB"], DEVICE).recommendation
    fits = packlight.plan(integers, ["size<=2MB"], DEVICE).recommendation

    assert any(line.startswith(sentence) for line in misses)
    assert not any(sentence in line for line in fits)
