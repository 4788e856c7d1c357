import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from packlight.errors import ModelError, TaskError
from packlight.model import Model, save
from packlight.records import SessionOptions
from packlight.runtime import peak_memory

MB = 1e6
OPTIONS = SessionOptions()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Temporary files go where they can be counted."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def matrix_product(folder, megabytes):
    """y = x W with so many megabytes of weight."""
    weight = np.ones((1000, int(megabytes * 250)), np.float32)
    x = ir.val("x", ir.DataType.FLOAT, (None, 1000))
    y = ir.val("y", ir.DataType.FLOAT, (None, weight.shape[1]))
    w = ir.val("w", const_value=ir.tensor(weight, name="w"))
    node = ir.Node("", "MatMul", [x, w], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[w], opset_imports={"": 13})
    save(Model(ir.Model(graph, ir_version=8), "m"), folder / "m.onnx")
    return folder / "m.onnx"


def test_weights_and_results_count_and_the_runtime_itself_does_not(tmp_path, temporary):
    path = matrix_product(tmp_path, 40)
    steps = [{"x": np.ones((1000, 1000), np.float32)}]  # the result: 1000 x 10,000 floats, 40 MB

    found = peak_memory(path, steps, {}, OPTIONS)

    assert 75 * MB < found.value < 250 * MB
    assert found.low <= found.value <= found.high
    assert (found.unit, found.how, found.n) == ("B", "measured", 6)
    assert list(temporary.iterdir()) == []


def test_a_tiny_model_costs_next_to_nothing(tmp_path):
    path = matrix_product(tmp_path, 0.1)

    found = peak_memory(path, [{"x": np.ones((1, 1000), np.float32)}], {}, OPTIONS)

    assert found.value < 10 * MB


@pytest.mark.parametrize(
    ("feeds", "error"),
    [({"x": np.ones((1, 1000))}, TaskError), ({"x": np.ones((1, 1000), np.float32)}, ModelError)],
)
def test_what_goes_wrong_in_the_child_is_said_and_files_are_removed(
    tmp_path, temporary, feeds, error
):
    path = matrix_product(tmp_path, 0.1)
    if error is ModelError:
        Path(path).write_bytes(b"no model")

    with pytest.raises(error, match=r"'x' takes float32|cannot open 'm\.onnx'"):
        peak_memory(path, [feeds], {}, OPTIONS)
    assert list(temporary.iterdir()) == []


def test_a_child_that_does_not_end_in_time_is_killed(tmp_path, temporary):
    path = matrix_product(tmp_path, 0.1)

    with pytest.raises(ModelError, match=r"did not load and run once within 0.01 s"):
        peak_memory(path, [{"x": np.ones((1, 1000), np.float32)}], {}, OPTIONS, seconds=0.01)
    assert list(temporary.iterdir()) == []


def test_references_have_no_memory_worth_measuring(tmp_path):
    with pytest.raises(ValueError, match="arithmetic='runtime'"):
        peak_memory(tmp_path / "m.onnx", [], {}, SessionOptions(arithmetic="exact"))


def test_the_state_is_carried_in_the_child(tmp_path):
    x, memory = (ir.val(n, ir.DataType.FLOAT, (1,)) for n in ("x", "memory"))
    following = ir.val("next", ir.DataType.FLOAT, (1,))
    node = ir.Node("", "Add", [x, memory], outputs=[following])
    graph = ir.Graph([x, memory], [following], nodes=[node], opset_imports={"": 13})
    save(Model(ir.Model(graph, ir_version=8), "m"), tmp_path / "m.onnx")
    one = np.ones(1, np.float32)
    steps = [{"x": one, "memory": one}, {"x": one}]

    assert peak_memory(tmp_path / "m.onnx", steps, {"next": "memory"}, OPTIONS).value >= 0
    with pytest.raises(TaskError, match="input 'memory'"):
        peak_memory(tmp_path / "m.onnx", steps, {}, OPTIONS)
