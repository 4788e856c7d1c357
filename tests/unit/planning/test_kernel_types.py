"""Operators in types for which ONNX Runtime has no kernel on a CPU."""

import math

import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, parser

import packlight
from packlight.errors import ModelError
from packlight.model import Model, name_operators
from packlight.planning.already_quantized import rare_types
from packlight.records import SessionOptions
from packlight.records.plan import RUNTIME
from packlight.runtime import open_session
from packlight.testing import NETWORKS

DEVICE = "raspberry-pi-5"
KINDS = {"bfloat16": TensorProto.BFLOAT16, "double": TensorProto.DOUBLE}


def network(body, given, made, stored=(), opset=22):
    """A model from ONNX text with zeros of given types and shapes."""
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> g ({given}) => ({made}) {{ {body} }}'
    proto = parser.parse_model(text)
    for name, (kind, shape) in dict(stored).items():
        size = math.prod(shape) * helper.tensor_dtype_to_np_dtype(KINDS[kind]).itemsize
        tensor = helper.make_tensor(name, KINDS[kind], shape, bytes(size), raw=True)
        proto.graph.initializer.append(tensor)
    graph = ir.from_proto(proto)
    name_operators(graph)
    return Model(graph, "g")


def product(kind):
    weights = {"w": (kind, (64, 64))}
    return network("y = MatMul(x, w)", f"{kind}[1,64] x", f"{kind}[1,64] y", weights)


def between_casts():
    return network(
        "a = Cast<to=16>(x) b = MatMul(a, w) c = Reshape(b, n) y = Cast<to=1>(c)",
        "float[1,64] x, int64[2] n", "float[1,64] y", {"w": ("bfloat16", (64, 64))},
    )  # fmt: skip


WEIGHT = {"w": ("bfloat16", (64, 64))}
LACKING = {
    "a product": (product("bfloat16"), "MatMul in bfloat16"),
    "a product between casts": (between_casts(), "MatMul in bfloat16"),
    "a convolution": (
        network("y = Conv(x, w)", "bfloat16[1,3,8,8] x", "bfloat16[1,4,6,6] y",
                {"w": ("bfloat16", (4, 3, 3, 3))}), "Conv in bfloat16"),
    "a choice": (
        network("y = Where(c, x, x)", "bool[4] c, bfloat16[4] x", "bfloat16[4] y"),
        "Where in bfloat16"),
    "a function of wide floats": (
        network("y = Erf(x)", "double[4] x", "double[4] y"), "Erf in float64"),
}  # fmt: skip


@pytest.mark.parametrize("name", LACKING)
def test_a_plan_says_which_operator_has_no_kernel_for_its_type(name):
    model, what = LACKING[name]
    with pytest.raises(ModelError, match="Could not find an implementation"):
        open_session(model, SessionOptions())

    plan = packlight.plan(model, (), DEVICE)

    assert plan.meets[RUNTIME] == "no"
    assert plan.verdict == plan.feasible == "no"
    text = " ".join(plan.recommendation)
    assert f"no runtime of its cpu runs {what}" in text
    assert "Export the model in float32, or choose another unit." in text


RUNNING = {
    "a product of wide floats": product("double"),
    "a weight that is cast when it is loaded": network(
        "v = Cast<to=1>(w) y = MatMul(x, v)", "float[1,64] x", "float[1,64] y", WEIGHT),
    "what moves numbers": network(
        "y = Transpose(x)", "bfloat16[4,5] x", "bfloat16[5,4] y"),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNNING)
def test_what_has_a_kernel_runs(name):
    open_session(RUNNING[name], SessionOptions())

    assert packlight.plan(RUNNING[name], (), DEVICE).verdict == "yes"


IN_DOUBLE = {"converted-17", "double-13"}


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - IN_DOUBLE))
def test_usual_networks_have_no_rare_types(name):
    assert rare_types(NETWORKS[name]().graph) == {}


@pytest.mark.parametrize("name", sorted(IN_DOUBLE))
def test_networks_in_float64_have_no_other_rare_type(name):
    assert set(rare_types(NETWORKS[name]().graph).values()) == {"float64"}
