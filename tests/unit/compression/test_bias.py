"""Constants added behind a convolution against ONNX Runtime on the graph as it was."""

import numpy as np
import pytest

from packlight.compression import compress
from packlight.model import nodes, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

SIMPLIFY = parse_recipe("simplify")
SHAPES = {"Conv": (6, 4, 3, 3), "ConvTranspose": (4, 6, 3, 3)}


def convolved(net, op="Conv", *, bias=False, **attributes):
    stored = [net.weight(*SHAPES[op], fan_in=4)]
    if bias:
        stored.append(net.weight(6))
    return net.add(op, "x", *stored, **attributes)


def model_of(net, value):
    return net.model("added", [value_info("x", ["n", 4, 5, 5])], {value: ["n", 6, "h", "w"]})


def kinds(model):
    return [node.op_type for node in nodes(model.graph)]


def check_same(model, made):
    old, new = open_session(model, EXACT), open_session(made, EXACT)
    for call in sample_calls(model, 2):
        (expected,), (found,) = old.run(call).values(), new.run(call).values()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", SHAPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (6, 1, 1)])
@pytest.mark.parametrize("first", [False, True])
def test_what_is_added_to_each_channel_goes_into_the_bias(op, bias, shape, first):
    net = Sketch(17)
    value, constant = convolved(net, op, bias=bias), net.weight(*shape)
    model = model_of(net, net.add("Add", *((constant, value) if first else (value, constant))))
    before = to_bytes(model)

    made = compress(model, SIMPLIFY)

    assert kinds(made.model) == [op]
    assert to_bytes(model) == before
    assert list(made.model.outputs()) == list(model.outputs())
    assert len(to_bytes(made.model)) < len(before)
    check_same(model, made.model)


def test_what_is_added_behind_a_normalisation_and_behind_another_sum_folds_too():
    net = Sketch(17)
    value = net.norm(convolved(net), 6)
    for _ in range(2):
        value = net.add("Add", value, net.weight(1, 6, 1, 1))
    model = model_of(net, value)

    made = compress(model, SIMPLIFY).model

    assert kinds(made) == ["Conv"]
    check_same(model, made)


def test_a_transposed_convolution_in_groups_has_channels_in_every_group():
    net = Sketch(17)
    value = net.add("ConvTranspose", "x", net.weight(4, 3, 3, 3), group=2)
    model = model_of(net, net.add("Add", value, net.weight(6, 1, 1)))

    made = compress(model, SIMPLIFY).model

    assert kinds(made) == ["ConvTranspose"]
    check_same(model, made)


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (1, 6, 3, 3), (2, 6, 1, 1), (1,), (1, 1, 6, 1, 1)])
def test_what_is_not_one_number_for_each_channel_stays(shape):
    net = Sketch(17)
    model = model_of(net, net.add("Add", convolved(net), net.weight(*shape)))

    made = compress(model, SIMPLIFY).model

    assert kinds(made) == ["Conv", "Add"]


def test_a_result_that_others_read_too_stays_as_it_is():
    net = Sketch(17)
    value = convolved(net)
    both = net.add("Mul", net.add("Add", value, net.weight(6, 1, 1)), value)
    model = model_of(net, both)

    made = compress(model, SIMPLIFY).model

    assert kinds(made) == ["Conv", "Add", "Mul"]
    check_same(model, made)
