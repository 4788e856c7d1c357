import tempfile
from importlib import import_module

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.errors import ModelError, TaskError
from packlight.model import load
from packlight.records import SessionOptions
from packlight.runtime import open_session

OPTIONS = SessionOptions()


def written(folder, nodes, inputs, outputs, stored=(), *, opset=13):
    values = [
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in side]
        for side in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in stored]
    graph = helper.make_graph(nodes, "g", *values, weights)
    opsets = [helper.make_opsetid("", opset)]
    path = folder / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


@pytest.fixture
def counter(tmp_path):
    """y = x + memory, and the memory becomes y."""
    nodes = [
        helper.make_node("Add", ["x", "memory"], ["y"]),
        helper.make_node("Identity", ["y"], ["next"]),
    ]
    float_ = TensorProto.FLOAT
    inputs = [("x", float_, [None, 2]), ("memory", float_, [None, 2])]
    return written(tmp_path, nodes, inputs, [(n, float_, [None, 2]) for n in ("y", "next")])


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("arithmetic", ["runtime", "exact"])
def test_a_path_and_its_value_give_the_same(counter, arithmetic):
    options = SessionOptions(arithmetic=arithmetic)
    feeds = {"x": ones(3, 2), "memory": 2 * ones(3, 2)}

    outputs = [open_session(source, options).run(feeds) for source in (counter, load(counter))]

    for given in outputs:
        assert list(given) == ["y", "next"]
        np.testing.assert_array_equal(given["y"], 3 * ones(3, 2))


def test_state_is_carried_and_outputs_are_stacked_along_a_new_first_axis(counter):
    session = open_session(counter, OPTIONS)
    steps = [{"x": ones(1, 2), "memory": 10 * ones(1, 2)}, {"x": ones(1, 2)}, {"x": 5 * ones(1, 2)}]

    outputs = session.run_steps(steps, {"next": "memory"})

    assert outputs["y"].shape == (3, 1, 2)
    np.testing.assert_array_equal(outputs["y"][:, 0, 0], [11, 12, 17])


def test_one_step_gives_outputs_as_they_are(counter):
    feeds = {"x": ones(4, 2), "memory": ones(4, 2)}

    outputs = open_session(counter, OPTIONS).run_steps([feeds], {"next": "memory"})

    assert outputs["y"].shape == (4, 2)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": ones(1, 2)}, "input 'memory' takes float32 [?, 2]; no array of that name came"),
        (
            {"x": np.ones((1, 2)), "memory": ones(1, 2)},
            "input 'x' takes float32 [?, 2]; an array of float64 [1, 2] came",
        ),
        (
            {"x": ones(2), "memory": ones(1, 2)},
            "input 'x' takes float32 [?, 2]; an array of float32 [2] came",
        ),
        (
            {"x": ones(1, 3), "memory": ones(1, 2)},
            "input 'x' takes float32 [?, 2]; an array of float32 [1, 3] came",
        ),
        (
            {"x": ones(1, 2), "memory": ones(1, 2), "z": ones(1)},
            "'m.onnx' has no input 'z'; its inputs are 'x', 'memory'",
        ),
    ],
)
def test_feeds_that_do_not_fit_are_refused_in_a_sentence(counter, feeds, message):
    with pytest.raises(TaskError) as caught:
        open_session(counter, OPTIONS).run(feeds)
    assert str(caught.value) == message


def test_a_sample_without_steps_and_an_unknown_state_are_refused(counter):
    session = open_session(counter, OPTIONS)
    feeds = {"x": ones(1, 2), "memory": ones(1, 2)}

    with pytest.raises(TaskError, match="at least one call"):
        session.run_steps([], {})
    with pytest.raises(TaskError, match="carries output 'nxt' to input 'memory'"):
        session.run_steps([feeds], {"nxt": "memory"})


def test_steps_whose_outputs_differ_in_shape_are_refused(counter):
    steps = [{"x": ones(n, 2), "memory": ones(n, 2)} for n in (1, 2)]

    with pytest.raises(TaskError, match="one shape"):
        open_session(counter, OPTIONS).run_steps(steps, {})


def test_a_run_that_fails_gives_one_clean_line(counter, capfd):
    feeds = {"x": ones(2, 2), "memory": ones(3, 2)}

    with pytest.raises(ModelError) as caught:
        open_session(counter, OPTIONS).run(feeds)

    message = str(caught.value)
    assert message.startswith("'m.onnx' fails when it runs: ")
    assert "\n" not in message
    assert "ONNXRuntimeError" not in message
    assert ".cc:" not in message
    assert capfd.readouterr().err == ""


def test_a_model_that_the_runtime_does_not_take_gives_one_clean_line(tmp_path, capfd):
    (tmp_path / "m.onnx").write_bytes(b"not a model")

    with pytest.raises(ModelError, match=r"cannot open 'm\.onnx'") as caught:
        open_session(tmp_path / "m.onnx", OPTIONS)

    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_weights_in_external_data_are_found(tmp_path):
    weight = np.arange(2000, dtype=np.float32).reshape(2, 1000)
    path = written(
        tmp_path,
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, [1, 2])],
        [("y", TensorProto.FLOAT, [1, 1000])],
        [("w", weight)],
    )
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)

    for source in (path, load(path)):
        y = open_session(source, OPTIONS).run({"x": ones(1, 2)})["y"]
        np.testing.assert_array_equal(y[0], weight.sum(axis=0))


def test_a_value_that_protobuf_cannot_hold_goes_through_a_file_that_does_not_stay(
    tmp_path, monkeypatch
):
    """The limit of 2 GB is lowered, so that it is passed."""
    weight = np.arange(2000, dtype=np.float32).reshape(2, 1000)
    (tmp_path / "large").mkdir()
    path = written(
        tmp_path / "large",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, [1, 2])],
        [("y", TensorProto.FLOAT, [1, 1000])],
        [("w", weight)],
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for module in ("packlight.model.save", "packlight.runtime.session"):
        monkeypatch.setattr(import_module(module), "INLINE_LIMIT", 100)

    session = open_session(load(path), OPTIONS)

    assert list(temporary.iterdir()) == []
    np.testing.assert_array_equal(session.run({"x": ones(1, 2)})["y"][0], weight.sum(axis=0))


@pytest.mark.parametrize("level", [1, 4])
def test_the_accuracy_of_fused_low_bit_products_is_that_of_the_options(tmp_path, level):
    """Level 4 computes with 8-bit activations, 1 in float32."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (256, 64)).astype(np.int8)
    scale = np.full((8, 64), 0.01, np.float32)
    path = written(
        tmp_path,
        [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=32),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        [("x", TensorProto.FLOAT, [4, 256])],
        [("y", TensorProto.FLOAT, [4, 64])],
        [("q", codes), ("s", scale)],
        opset=21,
    )
    x = rng.standard_normal((4, 256)).astype(np.float32)

    y = open_session(path, SessionOptions(matmul_accuracy=level)).run({"x": x})["y"]

    expected = x.astype(np.float64) @ (codes * 0.01)
    error = np.linalg.norm(y - expected) / np.linalg.norm(expected)
    assert error < 1e-5 if level == 1 else error > 1e-4
