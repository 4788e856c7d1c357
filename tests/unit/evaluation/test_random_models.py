"""A model that draws random numbers is judged against its own disagreement with itself."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight import compare_layers, compress, diagnose, evaluate
from packlight.model import load, random_operators, with_seeds
from packlight.records import SessionOptions
from packlight.runtime import open_session

FLOAT = TensorProto.FLOAT
node = helper.make_node
WIDTH = 24


def constant(name, array):
    return node("Constant", [], [name], name=name, value=numpy_helper.from_array(array))


def branch(nodes, name):
    output = helper.make_tensor_value_info(name, FLOAT, ["n", WIDTH])
    return helper.make_graph(nodes, name, [], [output])


def noise_in_a_branch():
    drawing = branch([node("RandomNormalLike", ["x"], ["drawn"], name="inside")], "drawn")
    quiet = branch([node("Identity", ["x"], ["quiet"], name="quiet")], "quiet")
    return [
        node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
        constant("low", np.float32(-1e9)),
        node("Greater", ["sum", "low"], ["always"], name="always"),
        node("If", ["always"], ["noise"], name="if", then_branch=drawing, else_branch=quiet),
        node("Add", ["x", "noise"], ["z"], name="add"),
    ]


DRAWING = {
    "RandomNormalLike": [
        node("RandomNormalLike", ["x"], ["noise"], name="draw"),
        node("Add", ["x", "noise"], ["z"], name="add"),
    ],
    "RandomUniformLike": [
        node("RandomUniformLike", ["x"], ["noise"], name="draw", high=4.0),
        node("Mul", ["x", "noise"], ["z"], name="mul"),
    ],
    "Bernoulli": [
        node("Sigmoid", ["x"], ["chance"], name="chance"),
        node("Bernoulli", ["chance"], ["z"], name="draw"),
    ],
    "Dropout": [
        constant("half", np.float32(0.5)),
        constant("training", np.array(True)),
        node("Dropout", ["x", "half", "training"], ["z"], name="draw"),
    ],
    "a branch": noise_in_a_branch(),
    "a stated seed": [
        node("RandomNormalLike", ["x"], ["noise"], name="draw", seed=7.0),
        node("Add", ["x", "noise"], ["z"], name="add"),
    ],
}
QUIET = {
    "Dropout": [node("Dropout", ["x"], ["z"], name="draw")],
    "no training": [
        constant("half", np.float32(0.5)),
        constant("training", np.array(False)),
        node("Dropout", ["x", "half", "training"], ["z"], name="draw"),
    ],
}


def write(folder, nodes):
    """A model behind drawing operators, the same with exact edits, and a task, as files."""
    draws = np.random.default_rng(0)
    weight = draws.normal(size=(WIDTH, 10)).astype(np.float32)
    x = helper.make_tensor_value_info("x", FLOAT, ["n", WIDTH])
    y = helper.make_tensor_value_info("y", FLOAT, ["n", 10])
    one = constant("one", np.float32(1))
    times_one = node("Mul", ["w", "one"], ["w1"], name="times_one")
    product = node("MatMul", ["z", "w1"], ["y"], name="product")
    stored = [numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph([*nodes, one, times_one, product], "g", [x], [y], stored)
    model = folder / "model.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), model)
    samples = draws.normal(size=(150, WIDTH)).astype(np.float32)
    np.savez(folder / "data.npz", x=samples, calibration_x=samples[:20] + 1)
    compress(model, "simplify", folder / "exact.onnx")
    return model, folder / "exact.onnx", folder / "data.npz"


@pytest.mark.parametrize("kind", DRAWING)
def test_an_exact_variant_loses_nothing_and_is_said_to_be_random(kind, tmp_path):
    model, exact, task = write(tmp_path, DRAWING[kind])
    result = evaluate(exact, task, reference=model)
    assert "random" in result.labels
    assert any("draws random numbers" in sentence for sentence in result.warnings)
    assert result.metrics["drop"].low <= 0 <= result.metrics["drop"].high
    itself = result.metrics["snr_itself"]
    assert itself.value < 40
    assert itself.low - 3 < result.metrics["snr"].value < itself.high + 3
    assert result.metrics["snr_exact"].value > 90
    assert "runtime differs" not in result.labels


def test_a_variant_that_is_worse_than_the_disagreement_is_found(tmp_path):
    little = [
        node("RandomNormalLike", ["x"], ["noise"], name="draw", scale=0.1),
        node("Add", ["x", "noise"], ["z"], name="add"),
    ]
    model, _, task = write(tmp_path, little)
    broken = onnx.load(model)
    weight = next(tensor for tensor in broken.graph.initializer if tensor.name == "w")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[::-1].copy(), "w"))
    onnx.save(broken, tmp_path / "broken.onnx")
    result = evaluate(tmp_path / "broken.onnx", task, reference=model)
    assert result.metrics["drop"].low > 0


def test_results_do_not_change_from_run_to_run(tmp_path):
    model, exact, task = write(tmp_path, DRAWING["RandomNormalLike"])
    first, second = (evaluate(exact, task, reference=model) for _ in range(2))
    assert first.metrics == second.metrics


@pytest.mark.parametrize("kind", QUIET)
def test_a_dropout_that_does_not_drop_is_not_random(kind, tmp_path):
    model, exact, task = write(tmp_path, QUIET[kind])
    result = evaluate(exact, task, reference=model)
    assert "random" not in result.labels
    assert "snr_itself" not in result.metrics
    assert result.metrics["snr"].value > 100


def test_layers_and_diagnosis_see_the_same_draws_in_both_models(tmp_path):
    model, _, task = write(tmp_path, DRAWING["RandomNormalLike"])
    compress(model, "simplify+weights:8", tmp_path / "small.onnx")
    layers = compare_layers(model, tmp_path / "small.onnx", task)
    drawn = next(row for row in layers.layers if row.name == "draw")
    assert drawn.snr.value == 150
    assert min(row.snr.value for row in layers.layers) > 30
    assert any("draws random numbers" in note for note in layers.notes)
    findings = diagnose(model, tmp_path / "small.onnx", task, seconds=0)
    assert "outputs" in {finding.cause for finding in findings}
    assert all(finding.severity == "note" for finding in findings)


@pytest.mark.parametrize("kind", DRAWING)
def test_seeds_fix_the_draws_and_leave_the_model(kind, tmp_path):
    path, _, _ = write(tmp_path, DRAWING[kind])
    model = load(path)
    before = model.digest
    feeds = {"x": np.ones((3, WIDTH), np.float32)}
    same = [open_session(with_seeds(model, 1), SessionOptions()).run(feeds)["y"] for _ in range(2)]
    other = open_session(with_seeds(model, 2), SessionOptions()).run(feeds)["y"]
    np.testing.assert_array_equal(*same)
    assert not np.array_equal(same[0], other)
    assert load(path).digest == before == model.digest
    assert any(random_operators(model.graph))
