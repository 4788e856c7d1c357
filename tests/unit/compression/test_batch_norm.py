"""Folding of batch normalisation against ONNX Runtime on the unfolded graph."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from packlight.compression import compress
from packlight.model import Model, load, name_operators, nodes, save, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

SIMPLIFY = parse_recipe("simplify")


def normalised(op, bias, opset=17, **attributes):
    """One operator and its batch normalisation."""
    net = Sketch(opset)
    shapes = {"Conv": (6, 4, 3, 3), "ConvTranspose": (4, 6, 3, 3), "Gemm": (4, 6)}
    shape = shapes[op]
    if attributes.get("transB"):
        shape = shape[::-1]
    stored = [net.weight(*shape, fan_in=4)]
    if bias:
        stored.append(net.keep(net.array(*bias, fan_in=1)))
    value = net.norm(net.add(op, "x", *stored, **attributes), 6)
    dims = ["n", 4] if op == "Gemm" else ["n", 4, 5, 5]
    return net.model("normalised", [value_info("x", dims)], {value: ["n", 6, *dims[2:2]]})


CASES = [
    ("Conv", (), {}),
    ("Conv", (6,), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("ConvTranspose", (), {}),
    ("ConvTranspose", (6,), {"strides": [2, 2]}),
    ("Gemm", (), {}),
    ("Gemm", (6,), {"transB": 1}),
    ("Gemm", (1, 6), {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", (1,), {"alpha": 2.0, "beta": 0.5, "transB": 1}),
]


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(("op", "bias", "attributes"), CASES)
def test_folding_gives_the_same_numbers_with_one_operator(op, bias, attributes, opset):
    model = normalised(op, bias, opset, **attributes)
    before = to_bytes(model)

    made = compress(model, SIMPLIFY)

    assert [node.op_type for node in nodes(made.model.graph)] == [op]
    assert [change.storage.kind for change in made.changes] == ["folded"]
    assert list(made.model.outputs()) == list(model.outputs())
    assert to_bytes(model) == before
    old, new = open_session(model, EXACT), open_session(made.model, EXACT)
    for call in sample_calls(model, 2):
        (expected,), (found,) = old.run(call).values(), new.run(call).values()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def chain(build, **shapes):
    """A model from a function that draws it and names its outputs."""
    net = Sketch(17)
    return net.model("chain", [value_info("x", ["n", 4, 5, 5])], build(net))


def read_twice(net):
    first = net.add("Conv", "x", net.weight(6, 4, 3, 3))
    return {net.norm(first, 6): ["n", 6, 3, 3], net.add("Relu", first): ["n", 6, 3, 3]}


def is_output(net):
    first = net.add("Conv", "x", net.weight(6, 4, 3, 3))
    return {net.norm(first, 6): ["n", 6, 3, 3], first: ["n", 6, 3, 3]}


def shared_weight(net):
    weight = net.weight(4, 4, 1, 1)
    first = net.norm(net.add("Conv", "x", weight), 4)
    return {net.norm(net.add("Conv", first, weight), 4): ["n", 4, 5, 5]}


def in_groups(net):
    value = net.add("ConvTranspose", "x", net.weight(4, 3, 1, 1), group=2)
    return {net.norm(value, 6): ["n", 6, 5, 5]}


def beyond_float32(net):
    value = net.add("Conv", "x", net.keep(np.full((6, 4, 3, 3), 3e37, np.float32)))
    tiny = [np.full(6, number, np.float32) for number in (1, 0, 0, 1e-30)]
    value = net.add("BatchNormalization", value, *map(net.keep, tiny), epsilon=1e-12)
    return {value: ["n", 6, 3, 3]}


def behind_relu(net):
    return {net.norm(net.add("Relu", "x"), 4): ["n", 4, 5, 5]}


def behind_input(net):
    return {net.norm("x", 4): ["n", 4, 5, 5]}


@pytest.mark.parametrize(
    ("build", "code"),
    [
        (read_twice, "shared"),
        (is_output, "shared"),
        (shared_weight, "shared"),
        (in_groups, "unsupported-attributes"),
        (beyond_float32, "overflow"),
        (behind_relu, "no-fold-target"),
        (behind_input, "no-fold-target"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_fold_stays_with_a_reason_and_the_same_numbers(build, code):
    model = chain(build)

    made = compress(model, SIMPLIFY)

    assert made.refusals
    assert all(refusal.code == code for refusal in made.refusals)
    old, new = open_session(model, EXACT), open_session(made.model, EXACT)
    (call,) = sample_calls(model, 1)
    expected, found = old.run(call), new.run(call)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


def test_simplify_does_not_enlarge_a_model_whose_convolutions_share_a_weight(tmp_path):
    model = chain(shared_weight)

    assert len(to_bytes(compress(model, SIMPLIFY).model)) <= len(to_bytes(model))


def test_two_normalisations_behind_one_operator_fold_one_after_the_other(tmp_path):
    model = chain(
        lambda net: {
            net.norm(net.norm(net.add("Conv", "x", net.weight(6, 4, 3, 3)), 6), 6): ["n", 6, 3, 3]
        }
    )

    once = compress(model, SIMPLIFY)
    twice = compress(model, parse_recipe("simplify+simplify"))

    assert [node.op_type for node in nodes(once.model.graph)] == ["Conv", "BatchNormalization"]
    assert [node.op_type for node in nodes(twice.model.graph)] == ["Conv"]
    save(twice.model, tmp_path / "m.onnx")
    (call,) = sample_calls(model, 1)
    (expected,) = open_session(model, EXACT).run(call).values()
    (found,) = open_session(load(tmp_path / "m.onnx"), EXACT).run(call).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def taken_by_a_constant(net):
    """Two convolutions read a Constant that is called as the bias of the first would be."""
    name = f"conv_{len(net.nodes) + len(net.stored) + 2}.bias"
    net.nodes.append(helper.make_node("Constant", [], [name], value=tensor(net.array(6))))
    first = net.norm(net.add("Conv", "x", net.weight(6, 4, 1, 1), name), 6)
    assert net.nodes[1].name == name.removesuffix(".bias")
    return {net.add("Conv", first, net.weight(6, 6, 1, 1), name): ["n", 6, 5, 5]}


def taken_by_a_result(net):
    """What an operator gives is called as the weight of the convolution would be."""
    value = net.norm(net.add("Conv", "x", net.weight(6, 4, 1, 1)), 6)
    name = f"{net.nodes[0].name}.weight"
    net.nodes.append(helper.make_node("Relu", [value], [name]))
    return {net.add("Neg", name): ["n", 6, 5, 5]}


def taken_around_a_body(net):
    """A body folds, and reads from around it a value that is called as its bias would be."""
    body = Sketch(17, prefix="then.")
    value = body.norm(body.add("Conv", "x", body.weight(6, 4, 1, 1)), 6)
    name = f"{body.nodes[0].name}.bias"
    net.stored.append(numpy_helper.from_array(net.array(1, 6, 1, 1), name))
    then_branch = body.body(body.add("Mul", value, name), ["n", 6, 5, 5])
    other = Sketch(17, prefix="else.")
    value = other.add("Conv", "x", other.weight(6, 4, 1, 1))
    else_branch = other.body(value, ["n", 6, 5, 5])
    total = net.add("ReduceSum", "x", keepdims=0)
    above = net.add("Greater", total, net.keep(np.float32(-1e9)))
    return {net.add("If", above, then_branch=then_branch, else_branch=else_branch): ["n", 6, 5, 5]}


def tensor(array):
    return numpy_helper.from_array(array, "")


@pytest.mark.parametrize("build", [taken_by_a_constant, taken_by_a_result, taken_around_a_body])
def test_names_that_other_values_have_are_not_given_to_what_is_folded(build, tmp_path):
    model = chain(build)

    made = compress(model, SIMPLIFY)

    assert [change.operator for change in made.changes if change.storage.kind == "folded"]
    save(made.model, tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx")
    (call,) = sample_calls(model, 1)
    (expected,) = open_session(model, EXACT).run(call).values()
    (found,) = open_session(load(tmp_path / "m.onnx"), EXACT).run(call).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_normalisation_of_every_place_stays(tmp_path):
    places = [np.random.default_rng(i).uniform(0.5, 1, (6, 3, 3)) for i in range(4)]
    net = Sketch(8)
    value = net.add("Conv", "x", net.weight(6, 4, 3, 3))
    stored = [net.keep(array.astype(np.float32)) for array in places]
    value = net.add("BatchNormalization", value, *stored, spatial=0)
    model = net.model("places", [value_info("x", ["n", 4, 5, 5])], {value: ["n", 6, 3, 3]})

    made = compress(model, SIMPLIFY)

    assert [refusal.code for refusal in made.refusals] == ["unsupported-attributes"]
    assert to_bytes(made.model) == to_bytes(model)


FUNCTIONS = {
    "Identity": ("(a) => (b) { b = Neg(a) }", "c = Conv(x, w) h = own.Identity(c) y = Relu(h)"),
    "Add": ("(a, k) => (b) { b = Mul(a, k) }", "c = Conv(x, w) y = own.Add(c, k)"),
    "Conv": (
        "(a, w) => (b) { b = Conv(a, w) }",
        "c = own.Conv(x, w) y = BatchNormalization(c, s, s, s, s)",
    ),
    "BatchNormalization": (
        "(a, r, s, t, u) => (b) { b = Neg(a) }",
        "c = Conv(x, w) y = own.BatchNormalization(c, s, s, s, s)",
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_the_models_own_are_not_taken_for_the_operators_of_their_names(name):
    function, body = FUNCTIONS[name]
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[n,4,5,5] x) => '
        f"(float[n,6,3,3] y) {{ {body} }} "
        f'<domain: "own", opset_import: ["" : 17]> {name} {function}'
    )
    random = np.random.default_rng(0)
    for key, shape in {"w": (6, 4, 3, 3), "k": (1, 6, 1, 1), "s": (6,)}.items():
        array = random.uniform(0.5, 2, shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, key))
    graph = ir.from_proto(proto)
    name_operators(graph)
    model = Model(graph, "own")

    made = compress(model, SIMPLIFY).model

    old, new = open_session(model, EXACT), open_session(made, EXACT)
    (call,) = sample_calls(model, 1)
    np.testing.assert_allclose(new.run(call)["y"], old.run(call)["y"], rtol=1e-5, atol=1e-5)
