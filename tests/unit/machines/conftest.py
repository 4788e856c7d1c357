"""Agents as processes of this machine, and a small model with integer products."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.machines.processes import agent_process
from packlight.machines.targets import AGENT_FILE

TOKEN = "a token of this test"


def start_agent(*arguments, token=TOKEN):
    """A listening agent and its port."""
    environment = {**os.environ, "PACKLIGHT_AGENT_TOKEN": token}
    command = [sys.executable, "-P", str(AGENT_FILE), "--port", "0", *arguments]
    agent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    return agent, int(agent.stdout.readline().rpartition(":")[2])


def stop(agent):
    agent.kill()
    agent.wait()
    agent.stdout.close()


@pytest.fixture(scope="session")
def address():
    """Address of an agent that listens here."""
    agent, port = start_agent()
    yield f"127.0.0.1:{port}"
    stop(agent)


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("PACKLIGHT_AGENT_TOKEN", TOKEN)


@pytest.fixture
def conversation():
    """A conversation with an agent over pipes."""
    command = [sys.executable, "-P", str(AGENT_FILE), "--stdio"]
    with agent_process(command, os.environ, "the agent") as connection:
        yield connection


WIDTH = 32
CLASSES = 10


def product(name, read, weight, scale):
    """A product of codes, with the stored values that it needs."""
    stored = {
        f"{name}.weight": weight, f"{name}.weight_scale": np.float32(0.01),
        f"{name}.weight_zero": np.int8(0), f"{name}.scale": np.float32(scale),
        f"{name}.zero": np.uint8(128),
    }  # fmt: skip
    grid = list(stored)
    node = helper.make_node("QLinearMatMul", [*read, *grid], [f"{name}.codes"], name=name)
    return node, stored, [f"{name}.codes", f"{name}.scale", f"{name}.zero"]


def integer_model(path: Path) -> Path:
    """Two products of codes: sums of ``loud`` saturate in pairs of 16 bits, those of ``quiet`` not.

    Codes of the input reach 255 and weights of ``loud`` 127, so a pair reaches 64,770.
    """
    random = np.random.default_rng(0)
    loud = random.choice([-127, 127], (WIDTH, WIDTH)).astype(np.int8)
    quiet = random.integers(-30, 31, (WIDTH, CLASSES)).astype(np.int8)
    input_grid = {"x_scale": np.float32(1 / 255), "x_zero": np.uint8(0)}
    quantize = helper.make_node("QuantizeLinear", ["x", *input_grid], ["codes"], name="quantize")
    first, first_stored, after = product("loud", ["codes", *input_grid], loud, 0.15)
    second, second_stored, last = product("quiet", after, quiet, 0.12)
    restore = helper.make_node("DequantizeLinear", last, ["y"], name="restore")
    stored = {**input_grid, **first_stored, **second_stored}
    graph = helper.make_graph(
        [quantize, first, second, restore], "integers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def integers(tmp_path_factory):
    return integer_model(tmp_path_factory.mktemp("integers") / "integers.onnx")


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """Inputs whose pairs saturate, as a task that compares with the reference."""
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    x = np.random.default_rng(1).uniform(0.5, 1, (24, WIDTH)).astype(np.float32)
    np.savez(path, x=x)
    return path
