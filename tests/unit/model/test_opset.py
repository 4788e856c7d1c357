"""Newer opsets compute the same, and what cannot be raised is refused."""

import sys

import numpy as np
import onnx
import pytest

from packlight.compression import compress
from packlight.errors import ModelError
from packlight.model import Model, file_size, infer_shapes, load, nodes, raise_opset, save, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info


def changed_between_opsets():
    """Operators whose form changed: axes became inputs, Softmax lost its flattening."""
    net = Sketch(11)
    value = net.add("Softmax", net.add("MatMul", "x", net.weight(32, 32)), axis=1)
    value = net.add("ReduceSum", value, axes=[1], keepdims=1)
    value = net.add("Unsqueeze", net.add("Squeeze", value, axes=[1]), axes=[1])
    value = net.add("ReduceMean", value, axes=[1], keepdims=1)
    value = net.add("Pad", value, net.keep(np.array([0, 0, 0, 0, 0, 1])))
    value = net.add("Dropout", net.add("HardSigmoid", value))
    return net.model("changed", [value_info("x", ["n", 4, 32])], {value: ["n", 1, 33]})


MODELS = {"changed-11": changed_between_opsets, **NETWORKS}


@pytest.mark.parametrize("opset", [13, 18, 21, 25])
@pytest.mark.parametrize("name", MODELS)
def test_a_raised_model_computes_the_same(name, opset):
    model = MODELS[name]()
    newer = Model(raise_opset(model.clone(), opset), "newer")

    assert newer.opset() == max(opset, model.opset())
    assert list(newer.inputs()) == list(model.inputs())
    assert list(newer.outputs()) == list(model.outputs())
    names = [node.name for node in nodes(newer.graph)]
    assert all(names)
    assert len(set(names)) == len(names)
    old, new = open_session(model, EXACT), open_session(newer, EXACT)
    for call in sample_calls(model, 2):
        expected, found = old.run(call), new.run(call)
        for key, array in expected.items():
            np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_raising_leaves_the_original_and_is_repeatable(name):
    model = MODELS[name]()
    before = to_bytes(model)

    first, second = (Model(raise_opset(model.clone(), 21), "m") for _ in range(2))

    assert to_bytes(model) == before
    assert to_bytes(first) == to_bytes(second)
    assert file_size(first.graph) == len(to_bytes(first))


def test_a_model_that_is_new_enough_is_given_back():
    graph = NETWORKS["perceptron-21"]().graph

    assert raise_opset(graph, 13) is graph


def test_a_model_that_the_converter_does_not_know_is_refused_with_the_way_out():
    net = Sketch(8)
    value = net.add("MeanVarianceNormalization", "x")
    model = net.model("old", [value_info("x", [1, 1, 2, 2])], {value: [1, 1, 2, 2]})

    with pytest.raises(ModelError, match=r"opset 8 and cannot be raised to 21.*Export it"):
        raise_opset(model.clone(), 21)


def test_shapes_are_known_in_bodies_and_from_given_inputs():
    model = NETWORKS["branches-16"]()

    shapes = infer_shapes(model, {"x": (3, 4, 16)})

    assert shapes["x"] == (3, 4, 16)
    assert shapes["weight_0"] == (24, 4, 5)
    assert shapes["then.relu_1.out"] == (3, 24, 12)
    assert shapes["else.relu_2.out"] == (3, 16, 12)


def test_a_dimension_that_is_open_is_not_guessed():
    shapes = infer_shapes(NETWORKS["perceptron-21"](), {})

    assert shapes["matmul_1.out"] == (None, 48)


@pytest.mark.parametrize("name", NETWORKS)
def test_inferred_shapes_are_those_that_the_runtime_gives(name):
    model = NETWORKS[name]()
    (call,) = sample_calls(model, 1)

    shapes = infer_shapes(model, {key: array.shape for key, array in call.items()})

    for key, array in open_session(model, EXACT).run(call).items():
        known = shapes[key]
        assert all(size in (None, real) for size, real in zip(known, array.shape, strict=True))


def test_raising_works_on_weights_that_stay_on_disk(tmp_path, monkeypatch):

    monkeypatch.setattr(sys.modules["packlight.model.save"], "INLINE_LIMIT", 1000)
    save(NETWORKS["residual-11"](), tmp_path / "m.onnx")
    monkeypatch.undo()

    newer = Model(raise_opset(load(tmp_path / "m.onnx").clone(), 21), "m")

    save(newer, tmp_path / "newer.onnx")
    inline = Model(raise_opset(NETWORKS["residual-11"]().clone(), 21), "m")
    assert load(tmp_path / "newer.onnx").digest == inline.digest


def compressed(name):
    """A network at its own opset, below 18, that calls functions of its own."""
    model = compress(NETWORKS[name](), parse_recipe("weights:8")).model
    assert model.opset() < 18
    assert model.graph.functions
    return model


WITH_FUNCTIONS = ["residual-17", "depthwise-13", "branches-16"]


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_a_raised_model_with_functions_computes_the_same(name, opset):
    model = compressed(name)

    newer = Model(raise_opset(model.clone(), opset), "newer")

    onnx.checker.check_model(to_bytes(newer))
    assert newer.opset() == opset
    assert {node.domain for node in nodes(newer.graph)} <= {"", *newer.graph.opset_imports}
    assert len(to_bytes(compress(newer, parse_recipe("simplify")).model)) < 1.1 * len(
        to_bytes(model)
    )
    old, new = open_session(model, EXACT), open_session(newer, EXACT)
    for call in sample_calls(model, 2):
        expected, found = old.run(call), new.run(call)
        for key, array in expected.items():
            np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-6)


def test_functions_of_another_opset_than_the_models_are_refused():
    model = compressed("residual-17").clone()
    for function in model.functions.values():
        function.opset_imports[""] = 13

    with pytest.raises(ModelError, match=r"cannot be raised to 21.*version 13 in the function"):
        raise_opset(model, 21)
