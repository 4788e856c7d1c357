"""Every file that compress writes was opened and run once, or is not there."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper

import packlight
from packlight.compression.methods import static
from packlight.errors import RecipeError
from packlight.model import Model, save
from packlight.runtime.first_run import FirstRun, first_run
from packlight.testing.sketch import Sketch, value_info

FORMS = {
    "nearest": ({"mode": "nearest"}, "scales"),
    "linear": ({"mode": "linear"}, "scales"),
    "sizes": ({"mode": "nearest"}, "sizes"),
    "one axis": ({"mode": "nearest"}, "one"),
    "axes from the end": ({"mode": "nearest"}, "end"),
}
STEPS = {"simplify+static": 2, "static": 1, "simplify+equalize+static+weights:8": 3}


def resized(form):
    """Two convolutions around a Resize of named axes."""
    attributes, kind = FORMS[form]
    net = Sketch(19)
    value = net.add("Conv", "x", net.weight(16, 8, 3, 3), net.weight(16), pads=[1, 1, 1, 1])
    value = net.add("Relu", value)
    axes = {"one": [3], "end": [-1, -2]}.get(kind, [2, 3])
    scales = net.keep(np.full(len(axes), 2, np.float32))
    inputs = [value, "", scales]
    if kind == "sizes":
        inputs = [value, "", "", net.keep(np.array([20, 20]))]
    value = net.add("Resize", *inputs, axes=axes, **attributes)
    value = net.add("Conv", value, net.weight(8, 16, 3, 3), pads=[1, 1, 1, 1])
    height = 10 if kind == "one" else 20
    shape = {value: ["n", 8, height, 20]}
    return net.model("resized", [value_info("x", ["n", 8, 10, 10])], shape)


@pytest.fixture
def task(tmp_path):
    samples = np.random.default_rng(0).standard_normal((6, 8, 10, 10)).astype(np.float32)
    path = tmp_path / "data.npz"
    np.savez(path, x=samples, calibration_x=samples)
    return path


def default_result(path, samples):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": samples})[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_resize_of_named_axes_runs_in_integers(form, task, tmp_path):
    model = resized(form)
    save(model, tmp_path / "float.onnx")

    made = packlight.compress(tmp_path / "float.onnx", "static", tmp_path / "out.onnx", task=task)

    samples = np.load(task)["x"]
    expected, found = (default_result(tmp_path / f, samples) for f in ("float.onnx", "out.onnx"))
    assert made.first_run == FirstRun("ran")
    assert np.square(expected - found).sum() < 10**-2.5 * np.square(expected).sum()


@pytest.fixture
def unmended(monkeypatch):
    """Static as it would be if it left a Resize of named axes alone."""
    monkeypatch.setattr(static, "write_out_axes", lambda graph: None)


@pytest.mark.parametrize("recipe", STEPS)
@pytest.mark.parametrize("form", ["nearest", "sizes"])
@pytest.mark.usefixtures("unmended")
def test_what_does_not_run_is_an_error_that_names_the_step(form, recipe, task, tmp_path):
    out = tmp_path / "out.onnx"
    out.write_bytes(b"as it was")

    with pytest.raises(RecipeError, match=f"step {STEPS[recipe]} .* 'static'"):
        packlight.compress(resized(form), recipe, out, task=task)

    assert out.read_bytes() == b"as it was"
    assert {path.name for path in tmp_path.iterdir()} == {"out.onnx", "data.npz"}


@pytest.mark.usefixtures("unmended")
def test_files_of_strangers_are_opened_in_a_child(task, tmp_path, monkeypatch):
    save(resized("nearest"), tmp_path / "float.onnx")
    monkeypatch.setattr("packlight.api.verification.first_run", None)

    with pytest.raises(RecipeError, match="step 1"):
        packlight.compress(tmp_path / "float.onnx", "static", tmp_path / "out.onnx", task=task)

    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.usefixtures("unmended")
def test_a_file_is_written_unopened_where_that_is_asked(task, tmp_path):
    out = tmp_path / "out.onnx"

    made = packlight.compress(resized("nearest"), "static", out, task=task, verify=False)

    assert made.first_run is None
    assert first_run(out, None).stage == "opened"


def test_inputs_that_suit_neither_file_prove_nothing_against_the_new_one(tmp_path):
    net = Sketch(17)
    value = net.add("Gather", net.weight(300, 16), "ids")
    value = net.add("Reshape", value, net.keep(np.array([7, 16])))
    value = net.add("MatMul", value, net.weight(16, 64))
    model = net.model("seven", [value_info("ids", ["n"], TensorProto.INT64)], {value: [7, 64]})

    made = packlight.compress(model, "weights:8", tmp_path / "out.onnx")

    assert made.first_run.stage == "opened"
    assert "Reshape" in made.first_run.error


def test_a_model_with_a_strangers_operator_is_written_though_nothing_opens_it(tmp_path):
    net = Sketch(17)
    hidden = net.add("MatMul", "x", net.weight(64, 64))
    graph = helper.make_graph(
        [*net.nodes, helper.make_node("Secret", [hidden], ["y"], domain="strangers")],
        "secret", [value_info("x", ["n", 64])], [value_info("y", ["n", 64])], net.stored,
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("strangers", 1)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    model = Model(ir.from_proto(proto), "secret")

    made = packlight.compress(model, "weights:8", tmp_path / "out.onnx")

    assert made.first_run.stage == "closed"
    assert len(onnx.load(tmp_path / "out.onnx").graph.node) > 2
