"""ONNX Runtime's kernels for CPUs without VNNI, run under emulation, really saturate."""

import json
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.model import Model, save
from packlight.records import SessionOptions
from packlight.runtime import open_session, with_exact_integers
from packlight.runtime.hardware import EXPECTED, probe_inputs, saturation_probe

QEMU = shutil.which("qemu-x86_64")
pytestmark = pytest.mark.skipif(
    QEMU is None or sys.platform != "linux" or platform.machine() != "x86_64",
    reason="needs qemu-x86_64 on x86-64 Linux",
)
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from packlight.records import SessionOptions
from packlight.runtime.calls import start_session

folder, outputs = Path(sys.argv[1]), {}
for path in sorted(folder.glob("*.onnx")):
    name, arithmetic = path.stem.split()
    session = start_session(path, name, SessionOptions(arithmetic=arithmetic))
    feeds = {"x": np.load(folder / f"{name}.npy")}
    outputs[path.stem] = session.run(feeds)["y"].ravel().tolist()
print(json.dumps(outputs))
"""
"""Runs files that are made here, for emulated imports are slow."""

info = helper.make_tensor_value_info


def written(folder, name, nodes, shapes, weights, *, x):
    stored = [numpy_helper.from_array(np.asarray(array), key) for key, array in weights.items()]
    inputs, outputs = (
        [info("x", TensorProto.FLOAT, shapes[0])],
        [info("y", TensorProto.FLOAT, shapes[1])],
    )
    graph = helper.make_graph(nodes, name, inputs, outputs, stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    keep(folder, Model(ir.from_proto(proto), name), x)


def keep(folder, model, x):
    """Write a model as it is and with its integer operators replaced, and its input."""
    save(model, folder / f"{model.name} runtime.onnx")
    save(with_exact_integers(model)[0], folder / f"{model.name} exact.onnx")
    np.save(folder / f"{model.name}.npy", x)


def dynamic(folder):
    """DynamicQuantizeLinear, MatMulInteger and scales: activations near the top of their range."""
    rng = np.random.default_rng(0)
    x = rng.uniform(200, 255, (1, 128)).astype(np.float32)
    x[0, :2] = 0, 255
    weights = {
        "w": rng.integers(100, 128, (128, 16)).astype(np.int8),
        "ws": np.float32(0.01),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["scale"]),
        helper.make_node("Mul", ["real", "scale"], ["y"]),
    ]
    written(folder, "dynamic", nodes, ([1, 128], [1, 16]), weights, x=x)
    return np.rint(x.astype(np.float64)) @ weights["w"].astype(np.int64) * 0.01


def static(folder):
    """A convolution between pairs of QuantizeLinear and DequantizeLinear, signed 8-bit weights."""
    rng = np.random.default_rng(1)
    x = rng.integers(200, 256, (1, 32, 4, 4)).astype(np.float32)
    weights = {
        "w": rng.integers(100, 128, (8, 32, 3, 3)).astype(np.int8),
        "ws": np.full(8, 2.0**-7, np.float32), "wz": np.zeros(8, np.int8),
        "xs": np.float32(1), "xz": np.uint8(0), "ys": np.float32(512), "yz": np.uint8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    written(folder, "static", nodes, ([1, 32, 4, 4], [1, 8, 2, 2]), weights, x=x)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, weights["w"].astype(np.float64))
    return 512 * np.clip(np.rint(sums * 2.0**-7 / 512), 0, 255)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """Outputs on an emulated Haswell, and what they should be, by model."""
    folder = tmp_path_factory.mktemp("emulated")
    keep(folder, saturation_probe(), probe_inputs()["x"])
    expected = {"dynamic": dynamic(folder), "static": static(folder)}
    done = subprocess.run(
        [QEMU, "-cpu", "Haswell", sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, expected, json.loads(done.stdout.splitlines()[-1])


def relative_error(found, expected):
    return np.linalg.norm(np.ravel(found) - expected.ravel()) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["dynamic", "static"])
def test_exact_arithmetic_is_exact_where_the_runtime_saturates(emulated, name):
    _, expected, outputs = emulated

    assert relative_error(outputs[f"{name} runtime"], expected[name]) > 0.05
    assert relative_error(outputs[f"{name} exact"], expected[name]) < 1e-6


@pytest.mark.parametrize("name", ["dynamic", "static"])
def test_exact_arithmetic_gives_the_same_on_either_machine(emulated, name):
    folder, _, outputs = emulated

    options = SessionOptions(arithmetic="exact")
    session = open_session(folder / f"{name} runtime.onnx", options)
    here = session.run({"x": np.load(folder / f"{name}.npy")})["y"]

    np.testing.assert_allclose(np.ravel(here), outputs[f"{name} exact"], rtol=1e-6)


def test_the_probe_of_this_machine_finds_saturation_where_it_is(emulated):
    _, _, outputs = emulated

    assert max(outputs["probe runtime"]) < EXPECTED
    assert set(outputs["probe exact"]) == {EXPECTED}
