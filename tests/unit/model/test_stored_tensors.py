"""Stored tensors are looked at, not touched."""

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper

from packlight.compression import compress
from packlight.model import Model, load, save, stored_tensor
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session


def test_asking_for_a_stored_tensor_leaves_the_file_as_it_is():
    tensors = {
        "value": ir.AttrTensor("value", ir.tensor(np.array([1.5, 2.5], np.float32))),
        "value_floats": ir.AttrFloat32s("value_floats", [1.5, 2.5]),
    }
    constants = [ir.Node("", "Constant", [], [one]) for one in tensors.values()]
    results = [node.outputs[0] for node in constants]
    for name, value in zip(tensors, results, strict=True):
        value.name = name
    graph = ir.Graph([], results, nodes=constants, opset_imports={"": 18})
    model = ir.Model(graph, ir_version=8)
    before = ir.to_proto(model).SerializeToString()

    assert [stored_tensor(value).numpy().tolist() for value in results] == [[1.5, 2.5]] * 2
    assert ir.to_proto(model).SerializeToString() == before
    assert stored_tensor(ir.Value(name="computed")) is None


def words(*held):
    """A model that looks words up."""
    node = helper.make_node("Gather", ["words", "place"], ["word"])
    proto = helper.make_model(
        helper.make_graph(
            [node],
            "words",
            [helper.make_tensor_value_info("place", TensorProto.INT64, [2])],
            [helper.make_tensor_value_info("word", TensorProto.STRING, [2])],
            [helper.make_tensor("words", TensorProto.STRING, [len(held)], held)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    return Model(ir.from_proto(proto), "words")


def test_words_that_are_stored_are_told_apart_where_one_ends_and_the_next_begins():
    assert words(b"ab", b"c").digest == words(b"ab", b"c").digest
    assert words(b"ab", b"c").digest != words(b"a", b"bc").digest


def test_a_model_that_stores_words_is_compressed_and_written_and_finds_them(tmp_path):
    made = compress(words(b"ab", b"c"), parse_recipe("simplify+weights:8")).model
    path = tmp_path / "words.onnx"

    assert save(made, path) == path.stat().st_size
    assert load(path).digest == made.digest
    session = open_session(load(path), SessionOptions())
    found = session.run({"place": np.array([1, 0])})
    assert found["word"].tolist() == ["c", "ab"]
