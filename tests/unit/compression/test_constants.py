"""What is computed when a model is simplified is what the runtime would compute."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.model import Model, file_size, name_operators, nodes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


BOX, IMAGE = np.float32([[0, 0, 4, 4]]), drawn(1, 4, 6, 6)
NORM = [drawn(4), drawn(4), drawn(4), np.abs(drawn(4))]
POOL = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
ALIGN = {"output_height": 2, "output_width": 2, "sampling_ratio": 2}
FORMS = {
    **{
        f"{op} {opset} {axis}": (opset, op, [drawn(2, 3, 4)], axis)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (11, 13)
        for axis in ({}, {"axis": 1})
    },
    **{f"BatchNormalization {n}": (n, "BatchNormalization", [IMAGE, *NORM], {}) for n in (10, 13)},
    **{f"RoiAlign {n}": (n, "RoiAlign", [IMAGE, BOX, np.array([0])], ALIGN) for n in (10, 16)},
    "LpPool": (18, "LpPool", [drawn(1, 1, 5, 5)], POOL),
    "LRN": (17, "LRN", [IMAGE], {"size": 3}),
    "Div of whole numbers": (17, "Div", [np.array([-7, 7]), np.array([2, -2])], {}),
    "float16": (17, "Exp", [drawn(9).astype(np.float16)], {}),
}
"""By name: opset, operator, stored values that it reads, attributes."""


def alone(opset, op, arrays, kind=None, **attributes):
    """A model whose second output is computed from nothing but stored values."""
    net = Sketch(opset)
    constant = net.add(op, *map(net.keep, arrays), **attributes)
    model = net.model("alone", [value_info("x", [3])], {net.add("Relu", "x"): [3], constant: []})
    output = model.graph.graph.outputs[1]
    output.shape, output.type = None, ir.TensorType(kind or ir.DataType.from_numpy(arrays[0].dtype))
    return model


def outputs(model, **feeds):
    return list(open_session(model, EXACT).run(feeds).values())


def simplified(model):
    return compress(model, parse_recipe("simplify")).model


def operators(model):
    return [node.op_type for node in nodes(model.graph)]


@pytest.mark.parametrize("form", FORMS)
def test_a_constant_is_what_the_runtime_computes(form):
    opset, op, arrays, attributes = FORMS[form]
    model = alone(opset, op, arrays, **attributes)

    made = simplified(model)

    assert op not in operators(made)
    x = drawn(3)
    for found, expected in zip(outputs(made, x=x), outputs(model, x=x), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("op", ["Bernoulli", "Multinomial", "RandomNormalLike"])
def test_a_sample_is_not_frozen(op):
    kind = ir.DataType.INT32 if op == "Multinomial" else None
    model = alone(17, op, [np.full((1, 20), 0.5, np.float32)], kind)

    assert op in operators(simplified(model))


@pytest.mark.parametrize("trains", [True, False])
def test_a_dropout_is_computed_unless_it_trains(trains):
    arrays = [np.ones(40, np.float32), np.float32(0.5), np.array(trains)]

    assert ("Dropout" in operators(simplified(alone(17, "Dropout", arrays)))) == trains


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT8E4M3FN"])
def test_what_numpy_has_no_type_for_is_left_to_the_runtime(kind):
    net = Sketch(19)
    narrow = net.add("Cast", net.keep(drawn(3)), to=int(ir.DataType[kind]))
    value = net.add("Mul", "x", net.add("Cast", narrow, to=int(ir.DataType.FLOAT)))
    model = net.model("narrow", [value_info("x", [3])], {value: [3]})

    (found,), (expected,) = (outputs(one, x=drawn(3)) for one in (simplified(model), model))

    np.testing.assert_array_equal(found, expected)


def test_an_operator_that_the_runtime_does_not_have_is_left_alone():
    weight = drawn(3).astype(np.float64)

    assert "HardSwish" in operators(simplified(alone(17, "HardSwish", [weight])))


TEXTS = numpy_helper.from_array(np.array(["b", "a"], object))
LABELS = helper.make_node("Constant", [], ["labels"], value=TEXTS)
NAMED = helper.make_node("Constant", [], ["labels"], value_strings=["b", "a"])
FIRST = helper.make_node("Constant", [], ["first"], value_ints=[0])
FOREIGN = helper.make_node("Constant", [], ["labels"], value_strings=["café", "thé"])
ONE = helper.make_node("Constant", [], ["labels"], value_string="café")
THREE = helper.make_node("Constant", [], ["three"], value_ints=[3])
WITH_TEXTS = {
    "a copy": [LABELS, helper.make_node("Identity", ["labels"], ["texts"])],
    "joined": [NAMED, helper.make_node("Concat", ["labels", "labels"], ["texts"], axis=0)],
    "picked": [LABELS, FIRST, helper.make_node("Gather", ["labels", "first"], ["texts"])],
    "foreign": [FOREIGN, FIRST, helper.make_node("Gather", ["labels", "first"], ["texts"])],
    "one": [ONE, THREE, helper.make_node("Expand", ["labels", "three"], ["texts"])],
    "numbers": [FIRST, helper.make_node("Cast", ["first"], ["texts"], to=TensorProto.STRING)],
}


@pytest.mark.parametrize("case", WITH_TEXTS)
def test_constant_texts_stay_what_they_are(case):
    live = helper.make_node("Relu", ["x"], ["y"])
    texts = value_info("texts", ["n"], TensorProto.STRING)
    results = [value_info("y", [3]), texts]
    graph = helper.make_graph([*WITH_TEXTS[case], live], "g", [value_info("x", [3])], results)
    model = whole(graph)

    for found, expected in zip(*(outputs(m, x=drawn(3)) for m in (simplified(model), model)),
                               strict=True):  # fmt: skip
        np.testing.assert_array_equal(found, expected)


def whole(graph, *functions):
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(f.domain, 1) for f in functions)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)
    drawing = ir.from_proto(proto)
    name_operators(drawing)
    return Model(drawing, "whole")


def test_what_a_function_computes_from_its_attributes_is_not_computed_without_them():
    slope = onnx.AttributeProto(name="alpha", ref_attr_name="alpha", type=1)
    leaky = helper.make_node("LeakyRelu", ["k"], ["l"])
    leaky.attribute.append(slope)
    body = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(drawn(3))),
        leaky,
        helper.make_node("Add", ["x", "l"], ["y"]),
    ]
    function = helper.make_function(
        "own", "shift", ["x"], ["y"], body, [helper.make_opsetid("", 17)], ["alpha"]
    )
    call = helper.make_node("shift", ["x"], ["moved"], domain="own", alpha=0.7)
    two = helper.make_node("Add", ["one", "one"], ["two"])
    twice = helper.make_node("Mul", ["moved", "two"], ["y"])
    one = numpy_helper.from_array(np.float32(1), "one")
    graph = helper.make_graph(
        [call, two, twice], "g", [value_info("x", [3])], [value_info("y", [3])], [one]
    )
    model = whole(graph, function)

    made = simplified(model)

    assert operators(made) == ["Add", "Mul"]
    np.testing.assert_array_equal(outputs(made, x=drawn(3))[0], outputs(model, x=drawn(3))[0])


@pytest.mark.parametrize("opset", [7, 10, 11, 12])
def test_what_is_computed_is_stored_in_a_form_that_the_opset_has(opset):
    net = Sketch(opset)
    total = net.add("Add", net.weight(3), net.weight(3))
    moved = net.add("Add", "x", total)
    flat = net.add("Reshape", moved, net.add("Shape", "x"))
    model = net.model("shapes", [value_info("x", [2, 3])], {net.add("Relu", flat): [2, 3]})

    proto = ir.to_proto(simplified(model).graph)

    onnx.checker.check_model(proto, full_check=True)
    assert "Shape" not in {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize("tied", [False, True])
def test_a_large_weight_that_others_read_too_is_not_stored_a_second_time(tied):
    net = Sketch(17)
    table = net.weight(200, 8)
    value = net.add("Gather", table, "x") if tied else net.add("Relu", net.weight(3, 8))
    turned = [net.add("Transpose", table, perm=[1, 0]) for _ in range(2)]
    sides = [net.add("MatMul", value, one) for one in turned]
    ids = value_info("x", [3], TensorProto.INT64)
    model = net.model("tied", [ids], {net.add("Add", *sides): [3, 200]})

    made = simplified(model)

    assert file_size(made.graph) <= file_size(model.graph)
    assert ("Transpose" in operators(made)) is tied


def test_an_if_stays_where_its_condition_may_be_fed():
    net = Sketch(17)
    truth = net.keep(np.array(True))
    bodies = {}
    for op in ("Relu", "Neg"):
        body = Sketch(17, prefix=op)
        bodies[op] = body.body(body.add(op, "x"), [3])
    value = net.add("If", truth, then_branch=bodies["Relu"], else_branch=bodies["Neg"])
    total = net.add("Add", net.weight(3), net.weight(3))
    truth_input = value_info(truth, [], TensorProto.BOOL)
    inputs = [value_info("x", [3]), truth_input]
    model = net.model("fed", inputs, {net.add("Add", value, total): [3]})

    made = simplified(model)

    assert "If" in operators(made)
    feeds = {"x": drawn(3), truth: np.array(False)}
    old, new = (open_session(m, EXACT).native.run(None, feeds) for m in (model, made))
    np.testing.assert_array_equal(new[0], old[0])


def test_a_weight_that_is_cut_alike_in_several_places_is_folded():
    net = Sketch(17)
    table = net.weight(64, 64)
    value = "x"
    for _ in range(2):
        halves = [
            net.add("Slice", table, net.keep(np.array([start])), net.keep(np.array([start + 32])),
                    net.keep(np.array([0])))
            for start in (0, 32)
        ]  # fmt: skip
        value = net.add("MatMul", value, net.add("Concat", *reversed(halves), axis=0))
    model = net.model("halves", [value_info("x", [1, 64])], {value: [1, 64]})

    made = compress(model, parse_recipe("simplify")).model

    assert [node.op_type for node in nodes(made.graph)] == ["MatMul", "MatMul"]


def test_a_weight_that_is_turned_in_two_ways_stays_one_weight():
    net = Sketch(17)
    table = net.weight(64, 4, 16)
    first = net.add("Transpose", table, perm=[1, 0, 2])
    second = net.add("Transpose", table, perm=[2, 1, 0])
    outputs = {net.add("Mul", "x", first): [4, 64, 16], net.add("Mul", "y", second): [16, 4, 64]}
    inputs = [value_info("x", [4, 64, 16]), value_info("y", [16, 4, 64])]
    model = net.model("turned", inputs, outputs)

    made = compress(model, parse_recipe("simplify")).model

    assert file_size(made.graph) <= file_size(model.graph)


def named_size(model):
    """Bytes of a model whose operators all have names, as those of results have."""
    named = model.clone()
    name_operators(named)
    return file_size(named)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def outer_product_tables(net, sides):
    """Tables of cosines and sines of outer products, as of a Fourier transform."""
    rows, columns = sides
    angles = net.add("Mul", net.weight(rows, 1), net.weight(1, columns))
    return [net.add(op, angles) for op in ("Cos", "Sin")]


@pytest.mark.parametrize("sides", [(8, 8), (32, 32), (20, 48)])
def test_tables_that_are_computed_from_little_stay_computed(sides):
    net = Sketch(18)
    tables = outer_product_tables(net, sides)
    products = [net.add("MatMul", "x", table) for table in tables]
    value = net.add("Concat", *products, axis=1)
    model = net.model("fourier", [value_info("x", [1, sides[0]])], {value: [1, 2 * sides[1]]})

    made = simplified(model)

    assert file_size(made.graph) <= named_size(model)
    x = drawn(1, sides[0])
    assert_close(outputs(made, x=x)[0], outputs(model, x=x)[0])


def test_a_table_whose_sum_alone_is_read_is_computed_through_what_is_larger():
    net = Sketch(18)
    cosine, sine = outer_product_tables(net, (16, 32))
    total = net.add("ReduceSum", net.add("Add", cosine, sine), keepdims=0)
    model = net.model("sum", [value_info("x", [4])], {net.add("Mul", "x", total): [4]})

    made = simplified(model)

    assert operators(made) == ["Mul"]
    assert file_size(made.graph) < named_size(model)


def both_branches(table_of):
    """An If whose two branches multiply by what ``table_of(body, name of a weight)`` computes."""
    net = Sketch(18)
    table = net.weight(40, 60)
    bodies = {}
    for op in ("Relu", "Neg"):
        body = Sketch(18, prefix=op)
        product = body.add("MatMul", "x", table_of(body, table))
        bodies[op] = body.body(body.add(op, product), [1, 40])
    value = net.add("If", "truth", then_branch=bodies["Relu"], else_branch=bodies["Neg"])
    inputs = [value_info("x", [1, 60]), value_info("truth", [], TensorProto.BOOL)]
    return net.model("branches", inputs, {value: [1, 40]})


TABLES = {
    "turned": lambda body, table: body.add("Transpose", table, perm=[1, 0]),
    "turned and doubled": lambda body, table: body.add(
        "Mul", body.add("Transpose", table, perm=[1, 0]), body.keep(np.float32([2]))
    ),
}


@pytest.mark.parametrize("form", TABLES)
def test_what_both_branches_compute_alike_is_stored_once(form):
    model = both_branches(TABLES[form])

    made = simplified(model)

    assert file_size(made.graph) <= named_size(model)
    for truth in (True, False):
        feeds = {"x": drawn(1, 60), "truth": np.array(truth)}
        assert_close(outputs(made, **feeds)[0], outputs(model, **feeds)[0])


def test_weights_that_both_branches_turn_alike_can_be_compressed():
    model = both_branches(TABLES["turned"])

    made = compress(model, parse_recipe("simplify+weights:8"))

    assert file_size(made.model.graph) < 0.5 * named_size(model)


@pytest.mark.parametrize("readers", [("Transpose", "Transpose"), ("Transpose", "Mul")])
@pytest.mark.parametrize("kept", [False, True])
def test_a_weight_with_several_results_of_its_size_is_not_stored_several_times(readers, kept):
    net = Sketch(18)
    table = net.weight(24, 24)
    forms = {
        "Transpose": lambda: net.add("Transpose", table, perm=[1, 0]),
        "Mul": lambda: net.add("Mul", table, net.keep(np.float32([3]))),
    }
    value = net.add("MatMul", "x", table) if kept else "x"
    for reader in readers:
        value = net.add("MatMul", value, forms[reader]())
    model = net.model("several", [value_info("x", [1, 24])], {value: [1, 24]})

    made = simplified(model)

    assert file_size(made.graph) <= named_size(model)
    assert_close(outputs(made, x=drawn(1, 24)), outputs(model, x=drawn(1, 24)))
