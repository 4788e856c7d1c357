"""Graphs whose operators cannot take what they are given, and those that ONNX Runtime takes."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

import packlight
from packlight.compression import compress
from packlight.errors import ModelError
from packlight.model import Model, check_shapes, initializers, name_operators, save, to_bytes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS


def network(body, given="float[1,3,8,8] x", made="float y", opset=17, **weights):
    """A model from ONNX text with stored floats of the given shapes."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({given}) => ({made}) {{ {body} }}'
    proto = parser.parse_model(text)
    for name, value in weights.items():
        array = value if isinstance(value, np.ndarray) else np.ones(value, np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    graph = ir.from_proto(proto)
    name_operators(graph)
    return Model(graph, "g")


def of(dtype, *shape):
    return np.ones(shape, dtype)


U8 = np.uint8
CODES = {"s": np.array(1, np.float32), "z": np.array(0, U8)}
WRONG = {
    "a product": (network("y = MatMul(x, w)", "float[1,32] x", w=(64, 64)), "cannot take"),
    "a Gemm": (network("y = Gemm(x, w, b)", "float[1,32] x", w=(64, 64), b=(64,)), "64 and 32"),
    "a sum": (network("y = Add(x, w)", "float[1,32] x", w=(64,)), "Incompatible dimensions"),
    "a normalisation": (
        network("y = BatchNormalization(x, a, a, a, a)", a=(5,)), "between 5 and 3"),
    "a convolution": (
        network("y = Conv(x, w)", w=(16, 5, 3, 3)), "is for 5 channels, and what it reads has 3"),
    "a depthwise convolution": (
        network("y = Conv<group=4>(x, w)", w=(4, 1, 3, 3)), "is for 4 channels"),
    "a convolution of large weights behind another": (
        network("a = Conv(x, w) y = Conv(a, v)", w=(64, 3, 3, 3), v=(64, 63, 3, 3)),
        "is for 63 channels, and what it reads has 64"),
    "a bias": (
        network("y = Conv(x, w, b)", w=(16, 3, 3, 3), b=(15,)), "15 channels, and its weight"),
    "a transposed convolution": (
        network("y = ConvTranspose(x, w)", w=(5, 8, 3, 3)), "is for 5 channels"),
    "a convolution of codes": (
        network("y = QLinearConv(x, s, z, w, s, z, s, z)", "uint8[1,3,8,8] x", "uint8 y",
                w=of(U8, 4, 2, 3, 3), **CODES), "is for 2 channels"),
    "two types": (
        network("y = Add(x, w)", "double[1,64] x", "double y", w=(64,)), r"type tensor\(float\)"),
    "a type that it is not defined for": (
        network("y = Conv(x, w)", "int32[1,3,8,8] x", "int32 y", w=of(np.int32, 4, 3, 3, 3)),
        r"unsupported type: tensor\(int32\)"),
    "indices that are floats": (
        network("y = Gather(w, x)", "float[4] x", w=(64, 8)), r"unsupported type: tensor\(float"),
    "an output of another type": (
        network("y = Cast<to=11>(x)", "float[4] x", "float y"),
        r"cannot take what it reads \(Inferred .*: double vs float\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_an_operator_cannot_take_is_told_with_its_name(name):
    model, reason = WRONG[name]
    with pytest.raises(ModelError, match=reason) as caught:
        check_shapes(model)

    assert model.graph.graph[-1].name in str(caught.value)


RIGHT = {
    "an open shape": network("y = MatMul(x, w)", "float[n,d] x", w=(64, 64)),
    "a stated output that differs": network(
        "y = MatMul(x, w)", "float[1,64] x", "float[1,60] y", w=(64, 64)),
    "one channel for all groups": network("y = Conv<group=3>(x, w)", w=(6, 1, 3, 3)),
    "a transposed convolution in groups": network(
        "y = ConvTranspose<group=3>(x, w, b)", w=(3, 2, 3, 3), b=(6,)),
    "a type that ONNX does not infer": network(
        "a = GroupNormalization<num_groups=1>(x, w, w) b = PRelu(a, s) y = Add(b, a)",
        opset=21, w=(3,), s=(1,)),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_onnx_runtime_takes_is_taken(name):
    open_session(RIGHT[name], SessionOptions())

    check_shapes(RIGHT[name])


def test_a_stale_shape_between_operators_is_not_believed():
    model = network("a = MatMul(x, w) y = Add(a, b)", "float[1,64] x", w=(64, 64), b=(64,))
    model.graph.graph[0].outputs[0].shape = ir.Shape([1, 60])
    open_session(model, SessionOptions())

    check_shapes(model)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("recipe", ["simplify", "weights:4,block=32", "palette:4", "dynamic"])
def test_networks_and_what_recipes_make_of_them_agree(name, recipe):
    model = NETWORKS[name]()

    check_shapes(model)
    check_shapes(compress(model, parse_recipe(recipe)).model)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_model_that_is_checked_stays_as_it_is(name):
    model = NETWORKS[name]()
    before = to_bytes(model), [value.graph for value in initializers(model.graph)]

    check_shapes(model)

    assert (to_bytes(model), [value.graph for value in initializers(model.graph)]) == before


@pytest.mark.parametrize("name", ["a product", "a bias"])
def test_a_plan_refuses_what_cannot_run(name, tmp_path):
    model, reason = WRONG[name]
    path = tmp_path / "m.onnx"
    save(model, path)

    for given in (path, model):
        with pytest.raises(ModelError, match=reason):
            packlight.plan(given, (), "raspberry-pi-5")
