"""Custom operators: what needs no run works without their library; a run asks for it."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.cli.run import run
from packlight.runtime.custom_operators import VARIABLE

DOMAIN = "ai.onnx.contrib"


@pytest.fixture(autouse=True)
def _no_library(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")


@pytest.fixture
def files(tmp_path):
    """A model with an operator of onnxruntime-extensions, and a task."""
    draws = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(draws.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w", (64, 32)), ("v", (32, 8)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="first"),
        helper.make_node("NegPos", ["m"], ["negative", "positive"], name="custom", domain=DOMAIN),
        helper.make_node("MatMul", ["positive", "v"], ["y"], name="second"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    samples = draws.normal(size=(12, 64)).astype(np.float32)
    np.savez(tmp_path / "t.npz", x=samples, calibration_x=samples)
    return tmp_path / "m.onnx", tmp_path / "t.npz"


def ended(capsys, *arguments):
    code = run([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_steps_without_data_need_no_library(files, tmp_path, capsys):
    model, _ = files
    small = tmp_path / "small.onnx"
    assert ended(capsys, "profile", model)[0] == 0
    code, shown, _ = ended(capsys, "compress", model, "--recipe", "quick8", "-o", small)
    assert code == 0
    assert "2 changes" in shown
    assert small.stat().st_size < 0.4 * model.stat().st_size


def test_a_run_asks_for_the_library(files, capsys):
    model, task = files
    code, _, errors = ended(capsys, "evaluate", model, "--task", task)
    assert code == 2
    assert "not a registered function/op. Register a library that has it: --library" in errors


def test_what_is_no_library_is_one_sentence(files, tmp_path, capsys):
    model, task = files
    for path, sentence in (
        (tmp_path / "none.so", "there is none at"), (model, "is no library of custom operators"),
    ):  # fmt: skip
        code, _, errors = ended(capsys, "evaluate", model, "--task", task, "--library", path)
        assert code == 2
        assert sentence in errors
        assert errors.count("\n") == 1
    assert ended(capsys, "evaluate", model, "--library")[0] == 2


def test_a_plan_that_needs_samples_names_the_library(files, capsys):
    model, _ = files
    code, shown, _ = ended(capsys, "plan", model, "--device", "pixel-8", "--budget", "size<=3kB")
    assert code in (0, 1)
    command = shown.partition("packlight compress")[2].partition("Predicted")[0]
    assert ("--task" in command) == ("--library ops.so" in command)
    assert "--library ops.so" in shown


@pytest.mark.slow
def test_a_library_runs_in_every_verb(files, tmp_path, capsys):
    package = tmp_path / "package"
    command = [
        sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", package,
        "onnxruntime-extensions",
    ]  # fmt: skip
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("onnxruntime-extensions cannot be had")
    (library,) = package.glob("onnxruntime_extensions/_extensions*.so")
    model, task = files
    small = tmp_path / "static.onnx"
    made = ended(capsys, "compress", model, "--recipe", "static", "--task", task, "-o", small,
                 "--library", library)  # fmt: skip
    assert made[0] == 0, made[2]
    for arguments in (
        ["evaluate", small, "--reference", model],
        ["layers", model, small],
        ["compare", model, small, "--seconds", "0.02"],
        ["diagnose", model, small, "--seconds", "0.02"],
        ["profile", model, "--measure", "--seconds", "0.02"],
    ):
        code, _, errors = ended(capsys, *arguments, "--task", task, f"--library={library}")
        assert code == 0, errors
