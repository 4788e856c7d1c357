"""Products in integers whose ranges are found at every call."""

import numpy as np
import onnx_ir as ir
import pytest

from packlight.model import nodes, to_bytes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session, saturation
from packlight.runtime.kernel_saturation import fused
from packlight.testing import NETWORKS, make_case
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

DYNAMIC = parse_recipe("dynamic")


def kinds(model):
    return [node.op_type for node in nodes(model.graph)]


def head(**attributes):
    """Two products that read one value, one of them a Gemm."""
    net = Sketch(17)
    value = net.add("Relu", "x")
    first = net.add("MatMul", value, net.weight(24, 16, fan_in=24))
    shape = (16, 24) if attributes.get("transB") else (24, 16)
    second = net.add("Gemm", value, net.weight(*shape), net.weight(16), **attributes)
    result = net.add("Add", first, second)
    return net.model("head", [value_info("x", ["n", 24])], {result: ["n", 16]})


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}])
def test_a_value_that_several_products_read_is_quantized_once(attributes):
    case = make_case(head(**attributes), DYNAMIC)

    found = kinds(case.result.model)
    assert found.count("DynamicQuantizeLinear") == 1
    assert found.count("MatMulInteger") == 2
    assert "MatMul" not in found
    assert "Gemm" not in found
    (expected,) = open_session(case.model, EXACT).run(case.calls[0]).values()
    (result,) = open_session(case.result.model, EXACT).run(case.calls[0]).values()
    assert signal_to_noise(expected, result) > 30


def test_the_runtime_fuses_what_is_written():
    made = make_case(NETWORKS["perceptron-21"](), DYNAMIC).result

    found = kinds(fused(made.model, SessionOptions()))

    assert "MatMulInteger" not in found
    assert {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} & set(found)


def test_weights_are_a_quarter_and_safe_everywhere():
    net = Sketch(17)
    value = net.add("MatMul", "x", net.weight(256, 512, fan_in=256))
    model = net.model("wide", [value_info("x", ["n", 256])], {value: ["n", 512]})

    case = make_case(model, DYNAMIC)

    assert len(to_bytes(case.result.model)) < 0.27 * len(to_bytes(model))
    (one,) = saturation(case.result.model, [[call] for call in case.calls])
    assert one.safe
    assert one.sums > 0


def test_what_has_no_product_in_integers_says_why():
    made = make_case(NETWORKS["residual-17"](), DYNAMIC).result

    assert "no-kernel" in {refusal.code for refusal in made.refusals}
    assert kinds(made.model).count("Conv") == 2


def test_rounding_by_samples_follows_them_and_is_no_worse():
    model = NETWORKS["perceptron-21"]()
    kept = {}
    for recipe in ("dynamic:7", "dynamic:7,rounding=gptq"):
        case = make_case(model, parse_recipe(recipe))
        kept[recipe] = signal_to_noise(outputs(case, model), outputs(case, case.result.model))

    assert kept["dynamic:7,rounding=gptq"] >= kept["dynamic:7"] - 0.5


def outputs(case, model):
    """The first output of every call, joined."""
    session = open_session(model, EXACT)
    return np.concatenate([next(iter(session.run(feeds).values())) for feeds in case.calls])


def test_codes_and_scales_are_stored_as_the_operators_want_them():
    made = make_case(NETWORKS["gemms-13"](), DYNAMIC).result

    stored = {
        value.name: value.const_value for value in made.model.graph.graph.initializers.values()
    }
    products = [node for node in nodes(made.model.graph) if node.op_type == "MatMulInteger"]
    assert products
    for node in products:
        codes = stored[node.inputs[1].name]
        assert codes.dtype == ir.DataType.INT8
        assert len(codes.shape) == 2
