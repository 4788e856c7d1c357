"""Models that read and store texts: every verb takes them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import packlight

WORDS = [f"word {number}" for number in range(400)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Looks texts up, gives a vector for each, and its sum as a stored text's place."""
    table = np.random.default_rng(0).standard_normal((400, 32)).astype(np.float32)
    weight = np.random.default_rng(1).standard_normal((32, 16)).astype(np.float32)
    nodes = [
        helper.make_node("LabelEncoder", ["words"], ["ids"], domain="ai.onnx.ml",
                         keys_strings=WORDS, values_int64s=range(400), default_int64=0),
        helper.make_node("Gather", ["table", "ids"], ["vectors"]),
        helper.make_node("MatMul", ["vectors", "weight"], ["scores"]),
        helper.make_node("Gather", ["names", "ids"], ["same"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "reader",
        [helper.make_tensor_value_info("words", TensorProto.STRING, ["n", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3, 16]),
         helper.make_tensor_value_info("same", TensorProto.STRING, ["n", 3])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "weight"),
         numpy_helper.from_array(np.array(WORDS, dtype=object), "names")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path_factory.mktemp("texts") / "reader.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def test_profile_counts_the_numbers_and_the_texts(reader):
    profile = packlight.profile(reader)

    rows = {row.name: row for row in profile.operators}
    texts = sum(len(word) for word in WORDS)
    assert texts in {row.weight_bytes for row in rows.values()}


def test_plan_has_options(reader):
    assert packlight.plan(reader, ["size<=1MB"]).options


@pytest.mark.parametrize("recipe", ["weights:8", "simplify+palette:4", "float16", "sparse"])
def test_compress_keeps_texts(recipe, reader, tmp_path):
    made = packlight.compress(reader, recipe, tmp_path / "small.onnx")

    assert made.after < made.before
    assert [value.name for value in onnx.load(tmp_path / "small.onnx").graph.output] == [
        "scores",
        "same",
    ]


def test_the_graph_is_judged_by_its_numbers(reader, tmp_path):
    words = np.array(WORDS[:300], dtype="<U8").reshape(100, 1, 3)
    np.savez(tmp_path / "words.npz", words=words)
    packlight.compress(reader, "weights:8", tmp_path / "small.onnx")

    judged = packlight.evaluate(tmp_path / "small.onnx", tmp_path / "words.npz", reference=reader)

    assert 10 < judged.metrics["snr"].value < 80
