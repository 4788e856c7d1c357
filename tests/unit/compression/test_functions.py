"""Functions of the model's own beside those that the model came with."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.compression.encoding.functions import DOMAIN
from packlight.model import load, save, to_bytes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session

CALLED = {
    "weights:8": "grid",
    "weights:3": "grid_packed",
    "palette:4": "palette",
    "weights:5,symmetric=false,scales=16": "grid_packed_half_zero",
    "palette:3": "unpack",
}
"""A function that each recipe calls."""


def with_function(path, name, opset=21):
    """A model that calls a function of its own, which doubles, under a name that is ours."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((32, 32), np.float32), name)
        for name in ("first", "second")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"], name="one"),
        helper.make_node(name, ["a"], ["b"], name="own", domain=DOMAIN),
        helper.make_node("MatMul", ["b", "second"], ["y"], name="two"),
    ]
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    double = helper.make_function(
        DOMAIN, name, ["v"], ["w"], [helper.make_node("Add", ["v", "v"], ["w"])], imports[:1]
    )
    x, y = (helper.make_tensor_value_info(each, TensorProto.FLOAT, [3, 32]) for each in "xy")
    graph = helper.make_graph(nodes, "own", [x], [y], weights)
    made = helper.make_model(graph, opset_imports=imports, functions=[double], ir_version=10)
    onnx.save(made, path)
    return load(path)


def run(model):
    x = np.random.default_rng(1).standard_normal((3, 32), np.float32)
    return open_session(model, SessionOptions(arithmetic="exact")).run({"x": x})["y"]


def noise(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("recipe", CALLED)
def test_a_function_of_the_model_with_our_name_stays_and_ours_gets_a_number(recipe, tmp_path):
    model = with_function(tmp_path / "m.onnx", CALLED[recipe])
    other = with_function(tmp_path / "o.onnx", "double")

    made, plain = (compress(each, parse_recipe(recipe)).model for each in (model, other))

    onnx.checker.check_model(to_bytes(made))
    names = {name for _, name, _ in made.graph.functions}
    assert {CALLED[recipe], f"{CALLED[recipe]}_2"} <= names
    np.testing.assert_array_equal(run(made), run(plain))
    assert noise(run(made), run(model)) < 0.3


@pytest.mark.parametrize("recipe", CALLED)
def test_a_file_that_is_compressed_again_calls_the_functions_it_has(recipe, tmp_path):
    model = with_function(tmp_path / "m.onnx", "double")
    first, _, rest = recipe.partition(",")
    once = compress(model, parse_recipe(f"{first},where=one" + (rest and f",{rest}"))).model
    save(once, tmp_path / "once.onnx")

    twice = compress(load(tmp_path / "once.onnx"), parse_recipe(f"simplify+{recipe}")).model

    assert twice.graph.functions.keys() == once.graph.functions.keys()
    np.testing.assert_array_equal(run(twice), run(compress(model, parse_recipe(recipe)).model))


def test_notes_of_other_tools_make_no_other_function_of_it(tmp_path):
    model = with_function(tmp_path / "m.onnx", "double")
    save(compress(model, parse_recipe("weights:3,where=one")).model, tmp_path / "once.onnx")
    noted = onnx.load(tmp_path / "once.onnx")
    for function in noted.functions:
        function.doc_string = "looked at"
        for place, node in enumerate(function.node):
            node.name, node.doc_string = f"node{place}", "so was this"
    onnx.save(noted, tmp_path / "noted.onnx")

    made = compress(load(tmp_path / "noted.onnx"), parse_recipe("weights:3")).model

    assert not any(name.endswith("_2") for _, name, _ in made.graph.functions)


def test_functions_whose_constants_differ_are_told_apart(tmp_path):
    model = with_function(tmp_path / "m.onnx", "double")
    save(compress(model, parse_recipe("weights:3,where=one")).model, tmp_path / "once.onnx")
    older = onnx.load(tmp_path / "once.onnx")
    (unpack,) = (function for function in older.functions if function.name == "unpack_signed")
    constant = next(node for node in unpack.node if node.op_type == "Constant")
    constant.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([2], np.int64)))
    onnx.save(older, tmp_path / "older.onnx")

    made = compress(load(tmp_path / "older.onnx"), parse_recipe("weights:3")).model

    names = {name for _, name, _ in made.graph.functions}
    assert {"unpack_signed", "unpack_signed_2", "grid_packed", "grid_packed_2"} <= names
    called = [node.op_type for node in made.graph.graph if isinstance(node, ir.Node)]
    assert called.count("grid_packed") == called.count("grid_packed_2") == 1
