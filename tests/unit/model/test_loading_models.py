"""Files that are models, and files that are not."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from packlight.compression import compress
from packlight.errors import ModelError
from packlight.model import load, nodes, save, to_bytes
from packlight.profiling import profile
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.sketch import value_info

node = helper.make_node


def written(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def proto_of(nodes, weights=(), opset=17, **outputs):
    graph = helper.make_graph(
        nodes, "g", [value_info("x", ["n", 4])], [value_info("y", ["n", 4])], list(weights)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


RELU = proto_of([node("Relu", ["x"], ["y"], name="r")])


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_saved_is_loaded_again(name, tmp_path):
    model, path = NETWORKS[name](), tmp_path / "m.onnx"

    written = save(model, path)

    assert written == path.stat().st_size
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.onnx"]
    assert load(path).digest == model.digest
    assert to_bytes(load(path)) == path.read_bytes()
    assert load(path).name == "m"


def test_sizes_below_0_are_open_as_onnx_runtime_has_them(tmp_path):
    proto = proto_of([node("Relu", ["x"], ["h"]), node("Neg", ["h"], ["y"])])
    proto.graph.value_info.append(value_info("h", [-1, 4]))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1

    model = load(written(tmp_path, proto))

    inner = next(nodes(model.graph)).outputs[0]
    for value in (model.inputs()["x"], inner, model.outputs()["y"]):
        assert [size if isinstance(size, int) else size.value for size in value.shape] == [None, 4]
    found = open_session(model, SessionOptions()).run({"x": np.ones((3, 4), np.float32)})
    assert found["y"].shape == (3, 4)
    assert profile(model, {}).totals["other_ops"].value == 2 * 4
    assert profile(model, {"x": (3, 4)}).totals["other_ops"].value == 2 * 3 * 4


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        load(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match=r"is a folder; name the \.onnx file in it"):
        load(tmp_path)
    with pytest.raises(ModelError, match="is empty"):
        load(written(tmp_path, b""))


@pytest.mark.parametrize(
    "content", [b"hello world\n", b"\x00" * 64, b"\x89PNG\r\n\x1a\n" + b"\xff" * 99]
)
def test_what_is_no_model_is_refused(content, tmp_path):
    with pytest.raises(ModelError, match=r"not an ONNX model|holds no graph"):
        load(written(tmp_path, content))


def test_every_truncation_is_refused(tmp_path):
    content = to_bytes(NETWORKS["gemms-13"]())

    for length in range(1, len(content), 211):
        with pytest.raises(ModelError):
            load(written(tmp_path, content[:length]))


@pytest.mark.parametrize("opset", [6, 99])
def test_an_opset_out_of_range_is_refused_with_the_range(opset, tmp_path):
    proto = proto_of([node("Relu", ["x"], ["y"])], opset=opset)

    with pytest.raises(ModelError, match=rf"needs opset 7 to \d+; it has {opset}"):
        load(written(tmp_path, proto))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dims": [2**40, 2**20]}, "more than the file holds|the file holds 16"),
        ({"dims": [-4]}, "negative dimension"),
        ({"dims": [5]}, "has shape .5., so 20 bytes; the file holds 16"),
        ({"data_type": 99}, "data type 99, which ONNX does not know"),
        ({"data_type": 0}, "data type 0, which ONNX does not know"),
    ],
)
def test_a_size_that_a_tensor_states_is_compared_with_its_bytes(change, sentence, tmp_path):
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    for name, value in change.items():
        if name == "dims":
            weight.ClearField("dims")
            weight.dims.extend(value)
        else:
            setattr(weight, name, value)

    with pytest.raises(ModelError, match=sentence):
        load(written(tmp_path, proto_of([node("Add", ["x", "w"], ["y"])], [weight])))


@pytest.mark.parametrize(
    "nodes",
    [
        [
            node("Add", ["x", "b"], ["a"]),
            node("Add", ["x", "a"], ["b"]),
            node("Relu", ["b"], ["y"]),
        ],
        [node("Frobnicate", ["x"], ["y"])],
        [node("Relu", ["z"], ["y"])],
        [node("Relu", ["x"], ["y"], colour=3)],
    ],
    ids=["cycle", "unknown operator", "unknown value", "unknown attribute"],
)
def test_a_graph_that_breaks_the_standard_is_refused(nodes, tmp_path):
    with pytest.raises(ModelError, match="is not a valid ONNX model"):
        load(written(tmp_path, proto_of(nodes)))


def test_numbers_stored_one_by_one_are_read_and_written(tmp_path):
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [1, 2, 3, 4])
    path = written(tmp_path, proto_of([node("Add", ["x", "w"], ["y"])], [weight]))

    model = load(path)

    found = open_session(model, SessionOptions()).run({"x": np.zeros((1, 4), np.float32)})
    assert found["y"].tolist() == [[1, 2, 3, 4]]
    assert save(model, tmp_path / "again.onnx") == len(to_bytes(model))
    assert load(tmp_path / "again.onnx").digest == model.digest


def test_stored_values_of_old_files_are_no_inputs(tmp_path):
    proto = onnx.load_from_string(to_bytes(NETWORKS["residual-11"]()))
    proto.ir_version = 3
    for stored in proto.graph.initializer:
        proto.graph.input.append(value_info(stored.name, stored.dims))

    model = load(written(tmp_path, proto))

    assert [value.name for value in model.graph.graph.inputs] == ["x"]
    call = sample_calls(model)[0]
    old = open_session(NETWORKS["residual-11"](), SessionOptions()).run(call)
    new = open_session(model, SessionOptions()).run(call)
    assert all(np.array_equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("imports", [["ai.onnx"], ["ai.onnx", ""], ["", "ai.onnx"]])
def test_the_other_name_of_the_standard_operators_is_the_empty_one(imports, tmp_path):
    inner = [node("Relu", ["a"], ["b"], domain="ai.onnx")]
    held = [helper.make_opsetid("ai.onnx", 17)]
    function = helper.make_function("own", "Same", ["a"], ["b"], inner, held)
    proto = proto_of([node("Same", ["x"], ["h"], domain="own"), node("Relu", ["h"], ["y"])])
    del proto.opset_import[:]
    known = [helper.make_opsetid(name, 17) for name in imports]
    proto.opset_import.extend([*known, helper.make_opsetid("own", 1)])
    proto.functions.append(function)

    model = load(written(tmp_path, proto))

    assert model.opset() == 17
    assert dict(model.graph.opset_imports) == {"": 17, "own": 1}
    (own,) = model.graph.functions.values()
    assert dict(own.opset_imports) == {"": 17}
    assert model.digest == load(written(tmp_path, to_bytes(model))).digest


def test_weights_of_a_file_that_imports_the_other_name_are_compressed(tmp_path):
    weight = numpy_helper.from_array(np.ones((4, 128), np.float32), "w")
    back = numpy_helper.from_array(np.ones((128, 4), np.float32), "v")
    graph = [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "v"], ["y"])]
    proto = proto_of(graph, [weight, back])
    proto.opset_import[0].domain = "ai.onnx"

    made = compress(load(written(tmp_path, proto)), parse_recipe("simplify+weights:8"))

    feeds = {"x": np.ones((2, 4), np.float32)}
    (found,) = open_session(made.model, SessionOptions()).run(feeds).values()
    np.testing.assert_allclose(found, np.full((2, 4), 512.0), rtol=1e-5)


def nested(names):
    """Operators without names or with equal ones, in two bodies and around them."""
    bodies = [
        helper.make_graph(
            [
                node("Relu", ["x"], [f"{side}.a"], name=names[0]),
                node("Relu", [f"{side}.a"], [f"{side}.b"], name=names[1]),
            ],
            side, [], [value_info(f"{side}.b", ["n", 4])],
        )
        for side in "pq"
    ]  # fmt: skip
    condition = numpy_helper.from_array(np.array(True), "c")
    outer = node("If", ["c"], ["z"], then_branch=bodies[0], else_branch=bodies[1], name=names[2])
    return proto_of([outer, node("Relu", ["z"], ["y"], name=names[3])], [condition])


@pytest.mark.parametrize(
    "names", [[None] * 4, ["a"] * 4, ["a", None, "a_2", "a"], [None, None, None, "Relu_1"]]
)
def test_every_operator_gets_a_name_of_its_own_in_bodies_too(names, tmp_path):
    model = load(written(tmp_path, nested(names)))

    found = [node.name for node in nodes(model.graph)]
    assert len(found) == 6
    assert all(found)
    assert len(set(found)) == 6


def test_a_name_that_was_given_once_is_kept_even_where_an_anonymous_operator_would_take_it(
    tmp_path,
):
    model = load(written(tmp_path, nested([None, None, None, "Relu_1"])))

    (last,) = [node for node in nodes(model.graph) if node.outputs[0].name == "y"]
    assert last.name == "Relu_1"


def test_names_do_not_depend_on_the_run(tmp_path):
    path = written(tmp_path, nested([None, "a", None, "a"]))

    assert load(path).digest == load(path).digest


def test_a_clone_can_be_edited_without_a_trace(tmp_path):
    for build in NETWORKS.values():
        model = build()
        before = to_bytes(model)
        clone = model.clone()
        for found in list(nodes(clone)):
            found.name = "renamed"
            for attribute in found.attributes.values():
                if attribute.name == "value":
                    attribute.as_tensor().name = "renamed"
        for value in clone.graph.initializers.values():
            value.const_value = None

        assert to_bytes(model) == before


def test_the_digest_sees_one_changed_number_and_the_graph():
    import onnx_ir as ir

    from packlight.model import Model

    model = NETWORKS["perceptron-21"]()
    other = model.clone()
    value = other.graph.initializers["weight_0"]
    array = value.const_value.numpy().copy()
    array[3, 5] = np.nextafter(array[3, 5], 9)
    value.const_value = ir.Tensor(array, name=value.name)
    renamed = model.clone()
    next(iter(nodes(renamed))).name = "renamed"

    digests = {Model(graph, "m").digest for graph in (model.graph, other, renamed)}
    assert len(digests) == 3


def test_bodies_side_by_side_that_use_one_name_get_names_of_their_own(tmp_path):
    inner = "() => (float[n] o) { h = Relu(x) h_2 = Neg(h) o = Abs(h_2) }"
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x, bool c) => (float[n] h_2_2) '
        f"{{ h_2_2 = If (c) <then_branch = t {inner}, else_branch = e {inner}> }}"
    )
    onnx.save(proto, tmp_path / "m.onnx")

    model = load(tmp_path / "m.onnx")

    names = [value.name for node in nodes(model.graph) for value in node.outputs]
    assert len(set(names)) == len(names)
    assert names[:4] == ["h_2_2", "h", "h_2", "o"]
    feeds = {"x": np.array([-2, 3], np.float32), "c": np.array(False)}
    found = open_session(model, SessionOptions()).run(feeds)
    np.testing.assert_array_equal(found["h_2_2"], [0, 3])
