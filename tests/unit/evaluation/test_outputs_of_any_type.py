"""Outputs that are no plain arrays are compared element by element, or named and left out."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight import compare_layers, compress, diagnose, evaluate
from packlight.cli.run import run
from packlight.errors import TaskError
from packlight.model import load, to_bytes

FLOAT, INT64, BOOL, STRING = (getattr(TensorProto, n) for n in ("FLOAT", "INT64", "BOOL", "STRING"))
CLASSES = 6
info = helper.make_tensor_value_info
node = helper.make_node
PRODUCT = [
    node("MatMul", ["x", "w"], ["hidden"], name="first"),
    node("MatMul", ["hidden", "v"], ["y"], name="second"),
]
BEST = node("ArgMax", ["y"], ["best"], name="best", axis=-1, keepdims=0)
Y = info("y", FLOAT, ["n", CLASSES])
WORDS = helper.make_tensor(
    "words", STRING, [CLASSES], [f"w\u00f6rt{i}".encode() for i in range(CLASSES)]
)
TEXT = node("Gather", ["words", "best"], ["label"], name="lookup")
LABEL = info("label", STRING, ["n"])
PARTS = helper.make_tensor_sequence_value_info("parts", FLOAT, None)


def labelled_map():
    """The scores as a list of maps from label to score, as scikit-learn's exporter gives them."""
    words = [f"w{i}" for i in range(CLASSES)]
    zip_map = node("ZipMap", ["y"], ["maps"], "zip", domain="ai.onnx.ml", classlabels_strings=words)
    kind = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, []))
    return [zip_map], [helper.make_value_info("maps", helper.make_sequence_type_proto(kind))], []


MODELS = {
    "texts": ([BEST, TEXT], [LABEL, Y], [WORDS]),
    "texts in a Constant": (
        [node("Constant", [], ["words"], name="c", value=WORDS), BEST, TEXT], [LABEL, Y], [],
    ),
    "texts in an attribute": (
        [BEST, node("LabelEncoder", ["best"], ["label"], "encoder", domain="ai.onnx.ml",
                    keys_int64s=range(CLASSES), values_strings=["a"] * CLASSES)],
        [Y, LABEL], [],
    ),
    "a sequence": (
        [node("SplitToSequence", ["y"], ["parts"], name="split", axis=1)], [Y, PARTS], [],
    ),
    "a sequence of texts": (
        [BEST, TEXT, node("SequenceConstruct", ["label", "label"], ["texts"], name="twice")],
        [Y, helper.make_tensor_sequence_value_info("texts", STRING, None)], [WORDS],
    ),
    "maps": labelled_map(),
    "an optional": (
        [node("Optional", ["y"], ["maybe"], name="maybe")],
        [Y, helper.make_value_info("maybe", helper.make_optional_type_proto(
            helper.make_tensor_type_proto(FLOAT, ["n", CLASSES])))], [],
    ),
    "truths": (
        [node("Greater", ["y", "zero"], ["positive"], name="greater")],
        [Y, info("positive", BOOL, ["n", CLASSES])],
        [numpy_helper.from_array(np.float32(0), "zero")],
    ),
    "a number": (
        [node("ReduceMean", ["y"], ["mean"], name="mean", keepdims=0)],
        [Y, info("mean", FLOAT, [])], [],
    ),
    "nothing in an array": (
        [node("Slice", ["y", "zeros", "zeros"], ["none"], name="slice")],
        [Y, info("none", FLOAT, [0, 0])], [numpy_helper.from_array(np.zeros(2, np.int64), "zeros")],
    ),
    "an input": ([], [info("x", FLOAT, ["n", 16]), Y], []),
    "a weight": ([], [info("v", FLOAT, [24, CLASSES]), Y], []),
}  # fmt: skip


OFTEN = ("texts", "a sequence", "maps", "nothing in an array")
"""Kinds that are tried every time; the others are slow."""


def marked(kind):
    return kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.slow)


@pytest.fixture(params=map(marked, MODELS))
def pair(request, tmp_path):
    """A model, its variant of 8 bits and a task, as files."""
    nodes, outputs, stored = MODELS[request.param]
    return files_of(tmp_path, nodes, outputs, stored)


def files_of(folder, nodes, outputs, stored):
    draws = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(draws.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w", (16, 24)), ("v", (24, CLASSES)))
    ]
    inputs = [info("x", FLOAT, ["n", 16])]
    graph = helper.make_graph([*PRODUCT, *nodes], "g", inputs, outputs, [*weights, *stored])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), model)
    x = draws.normal(size=(24, 16)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, calibration_x=x)
    smaller = folder / "smaller.onnx"
    compress(model, "quick8", smaller)
    return model, smaller, folder / "data.npz"


def test_every_verb_takes_them(pair):
    model, smaller, task = pair
    for arguments in (
        ["profile", model, "--task", task],
        ["plan", model, "--device", "pixel-8", "--budget", "size<=1MB"],
        ["compress", model, "--recipe", "simplify+static", "--task", task, "-o", "static.onnx"],
        ["evaluate", smaller, "--reference", model, "--task", task],
        ["layers", model, smaller, "--task", task],
        ["diagnose", model, smaller, "--task", task, "--seconds", "0.02"],
        ["compare", model, smaller, "--task", task, "--quality"],
    ):
        words = [str(task.parent / word) if word == "static.onnx" else word for word in arguments]
        assert run([*map(str, words)]) == 0, arguments


def test_numbers_are_compared_and_texts_are_named(tmp_path):
    nodes, outputs, stored = MODELS["texts"]
    model, smaller, task = files_of(tmp_path, nodes, outputs, stored)
    result = evaluate(smaller, task, reference=model)
    assert "not compared, because they are texts: label" in result.warnings
    assert 20 < result.metrics["snr"].value < 100
    findings = diagnose(model, smaller, task, seconds=0)
    assert "outputs" in {finding.cause for finding in findings}


def test_elements_of_sequences_and_values_of_maps_count_as_outputs(tmp_path):
    for kind in ("a sequence", "maps"):
        folder = tmp_path / kind
        folder.mkdir()
        model, smaller, task = files_of(folder, *MODELS[kind])
        plain = files_of(folder, [], [Y], [])
        measured = evaluate(smaller, task, reference=model).metrics["snr"].value
        expected = evaluate(plain[1], plain[2], reference=plain[0]).metrics["snr"].value
        assert measured == pytest.approx(expected)


def test_texts_alone_cannot_be_judged(tmp_path):
    model, smaller, task = files_of(tmp_path, [BEST, TEXT], [LABEL], [WORDS])
    with pytest.raises(TaskError, match=r"fidelity compares numbers; .* gives texts only"):
        evaluate(smaller, task, reference=model)


def test_types_with_maps_are_written_as_they_were_read(tmp_path):
    model, _, _ = files_of(tmp_path, *labelled_map())
    before = onnx.load(model)
    after = onnx.load_from_string(to_bytes(load(model)))
    assert [*after.graph.output] == [*before.graph.output]
    onnx.checker.check_model(after, full_check=True)


def test_sequences_and_maps_inside_are_left_out_of_layers(tmp_path):
    for kind in ("a sequence", "maps"):
        folder = tmp_path / kind
        folder.mkdir()
        model, smaller, task = files_of(folder, *MODELS[kind])
        rows = compare_layers(model, smaller, task).layers
        assert {"parts", "maps"}.isdisjoint(row.value for row in rows)
        assert {row.name for row in rows} >= {"first", "second"}


def test_evaluations_of_such_outputs_are_json(tmp_path, capsys):
    model, smaller, task = files_of(tmp_path, *MODELS["maps"])
    code = run([*map(str, ("evaluate", smaller, "--reference", model, "--task", task, "--json"))])
    assert (code, json.loads(capsys.readouterr().out)["schema"]) == (0, "Evaluation/2")
