"""Shares of a profile are of one cost, add to 1, and come in order; texts have no shapes."""

import json
import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight import profile
from packlight.cli.profile import operators_table, shares
from packlight.cli.run import run
from packlight.testing.networks import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_shares_add_to_one_and_rows_are_sorted(name):
    result = profile(NETWORKS[name]())
    _, share = shares(result)
    parts = [share(operator) for operator in result.operators]
    assert sum(parts) == pytest.approx(1)
    shown = [*operators_table(result, 100).columns[-1].cells]
    numbers = [float(text.removesuffix("%")) for text in shown]
    assert numbers == sorted(numbers, reverse=True)


def words(name, count, word="w\u00f6rt"):
    return helper.make_tensor(name, TensorProto.STRING, [count], [word.encode()] * count)


def text_models():
    """Texts as an initializer, a Constant, and an attribute, each read by a Gather or encoder."""
    look_up = helper.make_node("Gather", ["words", "best"], ["label"], "lookup")
    yield [look_up], [words("words", 8)]
    yield [helper.make_node("Constant", [], ["words"], "c", value=words("words", 8)), look_up], []
    yield [helper.make_node("Constant", [], ["words"], "c", value_strings=["a"] * 8), look_up], []
    encoder = helper.make_node(
        "LabelEncoder", ["best"], ["label"], "encoder", domain="ai.onnx.ml",
        keys_int64s=range(8), values_strings=["a"] * 8,
    )  # fmt: skip
    yield [encoder], []
    shape = helper.make_node("Shape", ["best"], ["shape"], "shape")
    yield (
        [shape, helper.make_node("Expand", ["one", "shape"], ["label"], "expand")],
        [words("one", 1)],
    )


@pytest.mark.parametrize("index", range(5))
def test_texts_anywhere_are_profiled_and_planned(index, tmp_path, capsys):
    nodes, stored = list(text_models())[index]
    weight = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    first = [
        helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
        helper.make_node("ArgMax", ["y"], ["best"], "best", axis=-1, keepdims=0),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 64])
    label = helper.make_tensor_value_info("label", TensorProto.STRING, [4])
    stored = [*stored, numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph([*first, *nodes], "g", [x], [label], stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    assert run(["profile", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    product = next(entry for entry in record["operators"] if entry["name"] == "product")
    assert product["macs"] == 4 * 64 * 8
    assert run(["plan", str(path), "--device", "pixel-8", "--budget", "size<=1kB"]) in (0, 1)


def test_what_cannot_be_counted_leaves_the_upper_end_open_and_is_said_once():
    model = NETWORKS["perceptron-21"]()
    for value in model.graph.graph.inputs:
        value.shape = None
    result = profile(model)
    assert result.totals["macs"].high == math.inf
    reasons = [sentence.partition(": ")[2] for sentence in result.unknown]
    assert len(reasons) == len(set(reasons))
