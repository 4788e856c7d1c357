"""Notes of exporters: simplify takes them out, byte by byte, and keeps what people read."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.model import load, to_bytes
from packlight.records import parse_recipe

info = helper.make_tensor_value_info
TRACE = "File model.py, line 7, in forward: return self.head(x) " * 20


def noted(message):
    """Leave a note of 1 kB on anything that holds some."""
    message.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=TRACE)


def network():
    """A Gemm, an If whose bodies compute, and a function: everything can hold notes."""
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    bodies = {
        name: helper.make_graph(
            [helper.make_node(op, ["h"], [f"{name}.y"])], name, [], [info(f"{name}.y", 1, [1, 4])]
        )
        for name, op in (("then_branch", "Relu"), ("else_branch", "Twice"))
    }
    bodies["else_branch"].node[0].domain = "own"
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], name="gemm"),
        helper.make_node("If", ["go"], ["y"], name="if", **bodies),
    ]
    graph = helper.make_graph(
        nodes, "main", [info("x", 1, [1, 4]), info("go", TensorProto.BOOL, [])],
        [info("y", 1, [1, 4])], [weight], value_info=[info("h", 1, [1, 4])],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    double = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], imports[:1]
    )
    return helper.make_model(graph, opset_imports=imports, functions=[double], ir_version=10)


def places(proto):
    """Every message of the graph that can hold notes and descriptions nobody runs."""
    bodies = [attribute.g for attribute in proto.graph.node[1].attribute]
    function = proto.functions[0]
    nodes = [*proto.graph.node, *function.node, *(node for body in bodies for node in body.node)]
    return [*nodes, function, *bodies, *proto.graph.value_info]


def written(proto, path):
    path.write_bytes(proto.SerializeToString())
    return load(path)


def simplified(proto, path):
    return compress(written(proto, path), parse_recipe("simplify")).model


def test_notes_and_descriptions_cost_no_byte_after_simplifying(tmp_path):
    plain, full = network(), network()
    for message in places(full):
        noted(message)
        message.doc_string = TRACE
    noted(full.graph)
    for end in (*full.graph.input, *full.graph.output):
        noted(end)
    assert full.ByteSize() > plain.ByteSize() + 20 * len(TRACE)

    found = to_bytes(simplified(full, tmp_path / "full.onnx"))

    assert found == to_bytes(simplified(plain, tmp_path / "plain.onnx"))
    assert TRACE.encode() not in found


def test_a_model_keeps_what_it_says_of_itself_and_of_its_inputs(tmp_path):
    proto = network()
    proto.metadata_props.add(key="labels", value="cat,dog")
    proto.doc_string, proto.graph.doc_string = "tells cats from dogs", "for small cameras"
    proto.graph.input[0].doc_string = "pixels, 0 to 1"

    kept = onnx.load_from_string(to_bytes(simplified(proto, tmp_path / "m.onnx")))

    assert {entry.key: entry.value for entry in kept.metadata_props} == {"labels": "cat,dog"}
    assert (kept.doc_string, kept.graph.doc_string) == (proto.doc_string, proto.graph.doc_string)
    assert kept.graph.input[0].doc_string == "pixels, 0 to 1"


@pytest.mark.parametrize("recipe", ["simplify", "simplify+weights:8"])
def test_the_original_keeps_its_notes(tmp_path, recipe):
    proto = network()
    for message in places(proto):
        noted(message)
    model = written(proto, tmp_path / "m.onnx")
    before = to_bytes(model)

    compress(model, parse_recipe(recipe))

    assert to_bytes(model) == before
    assert TRACE.encode() in before
