"""Stated shapes are believed where the operators bear them out, and only there."""

import numpy as np
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.model import Model, confirmed_shapes_only, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info


def counting(*, through=""):
    """Gives how many samples there are, doubled; what it states of them is for the test to say."""
    net = Sketch(17)
    relu = net.add("Relu", "x")
    outputs = {net.add("Identity", relu): ["n", 4]} if through == "output" else {}
    size = net.add("Cast", net.add("Shape", relu), to=int(ir.DataType.FLOAT))
    two = net.add("Add", net.keep(np.float32([1])), net.keep(np.float32([1])))
    doubled = net.add("Mul", size, two)
    return net.model("counting", [value_info("x", ["n", 4])], {**outputs, doubled: [2]})


def value(model, name):
    return next(v for node in model.graph.graph for v in node.outputs if v.name == name)


@pytest.mark.parametrize("through", ["result", "output"])
def test_a_batch_that_was_opened_stays_open(through):
    model = counting(through=through)
    name = next(iter(model.outputs())) if through == "output" else "relu_0.out"
    value(model, name).shape = ir.Shape([1, 4])
    feeds = {"x": np.ones((3, 4), np.float32)}

    made = compress(model, parse_recipe("simplify")).model

    expected, found = (open_session(one, EXACT).run(feeds) for one in (model, made))
    assert list(found) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


def test_a_shape_that_follows_from_the_inputs_is_still_used():
    model = counting()
    model.graph.graph.inputs[0].shape = ir.Shape([3, 4])
    value(model, "relu_0.out").shape = ir.Shape([3, 4])

    made = compress(model, parse_recipe("simplify")).model

    assert not list(made.graph.graph)


def test_what_is_doubted_is_stated_again_afterwards():
    model = counting().clone()
    relu = next(iter(model.graph)).outputs[0]
    relu.shape = ir.Shape([1, 4])

    with confirmed_shapes_only(model):
        assert relu.shape == [None, 4]

    assert relu.shape == [1, 4]


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_that_are_right_are_left_alone(name):
    model = NETWORKS[name]()
    before, graph = to_bytes(model), model.clone()

    with confirmed_shapes_only(graph):
        pass

    assert to_bytes(Model(graph, model.name)) == before


def test_nothing_is_believed_where_operators_contradict_each_other():
    net = Sketch(17)
    value_of = net.add("Add", net.add("MatMul", "x", net.weight(5, 6)), net.weight(7))
    model = net.model("wrong", [value_info("x", [3, 4])], {value_of: [3, 7]}).clone()

    with confirmed_shapes_only(model):
        assert model.graph.outputs[0].shape is None

    assert model.graph.outputs[0].shape == [3, 7]
