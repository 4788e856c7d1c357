"""``packlight portability`` and agents, as a person starts them; one in a network of its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.machines.targets import AGENT_FILE

TOKEN = {"PACKLIGHT_AGENT_TOKEN": "a token of this test"}
SIDE = 64


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with a small model and samples of it."""
    folder = tmp_path_factory.mktemp("task")
    weight = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, SIDE])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, folder / "small.onnx")
    x = np.random.default_rng(1).normal(size=(12, SIDE)).astype(np.float32)
    np.savez(folder / "small.npz", x=x)
    return folder


@contextlib.contextmanager
def agent_at(port=0, listen="127.0.0.1", before=()):
    """A listening agent and its port."""
    command = [*before, sys.executable, "-P", str(AGENT_FILE)]
    command += ["--port", str(port), "--listen", listen]
    environment = {**os.environ, **TOKEN}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as agent:
        try:
            yield agent, int(agent.stdout.readline().rpartition(":")[2])
        finally:
            agent.kill()


def measuring(folder, address, *arguments, before=()):
    """Start a measurement in its own process."""
    command = [*before, sys.executable, "-m", "packlight", "portability", "small.onnx"]
    command += ["--task", "small.npz", "--agent", address, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, **TOKEN}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(path, size):
    """Wait until a file has a size."""
    end = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < end, "nothing was written"
        time.sleep(0.02)


def finish(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def test_killed_in_the_middle_the_measurement_resumes(task, tmp_path):
    out = tmp_path / "there.json"
    answers = tmp_path / "there.json.unfinished"
    command = ("-o", str(out), "--seconds", "10", "--json")
    with agent_at() as (_, port):
        first = measuring(task, f"127.0.0.1:{port}", *command)
        wait_for(answers, 3000)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        before = answers.read_bytes()
        assert not out.exists()

        second = measuring(task, f"127.0.0.1:{port}", "-o", str(out), "--json", "--seconds", "0.1")
        wait_for(answers, len(before) + 1)
        assert answers.read_bytes().startswith(before[:2500])
        code, output, errors = finish(second)

    assert code == 0, errors
    assert json.loads(output)["processors"][0]["metrics"]["latency"]["n"] >= 30
    assert json.loads(out.read_text()) == json.loads(output)
    assert not answers.exists()


def test_when_the_agent_ends_one_sentence_says_so_and_the_command_resumes(task, tmp_path):
    out = tmp_path / "there.json"
    command = ("-o", str(out), "--seconds", "20")
    with agent_at() as (agent, port):
        first = measuring(task, f"127.0.0.1:{port}", *command)
        wait_for(tmp_path / "there.json.unfinished", 3000)
        agent.kill()
        code, _, errors = finish(first)
    assert code == 2
    assert errors.count("\n") == 1
    assert "ended the conversation; start it again, and the same command goes on" in errors

    with agent_at() as (_, port):
        code, output, errors = finish(
            measuring(task, f"127.0.0.1:{port}", "-o", str(out), "--seconds", "0.1")
        )
    assert code == 0, errors
    assert "measured on 127.0.0.1" in " ".join(output.split())
    assert max(map(len, output.splitlines())) <= 80


def network_of_two():
    """Two network namespaces with an address each, or None where they cannot be made."""
    names = [f"packlight{os.getpid()}{side}" for side in "ab"]
    links = [f"pl{os.getpid() % 100000}{side}" for side in "ab"]
    commands = [f"ip netns add {name}" for name in names]
    commands.append(f"ip link add {links[0]} type veth peer name {links[1]}")
    for number, (name, link) in enumerate(zip(names, links, strict=True), 1):
        commands += [
            f"ip link set {link} netns {name}",
            f"ip -n {name} addr add 10.213.97.{number}/24 dev {link}",
            f"ip -n {name} link set {link} up",
            f"ip -n {name} link set lo up",
        ]
    for command in commands:
        if subprocess.run(command.split(), capture_output=True, check=False).returncode:
            remove(names)
            return None
    return names


def remove(names):
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ip"), reason="iproute2 is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are made by root")
def test_a_machine_in_another_network_is_measured(task, tmp_path):
    names = network_of_two()
    if names is None:
        pytest.skip("this system makes no network namespaces")
    there, here = (["ip", "netns", "exec", name] for name in names)
    try:
        with agent_at(listen="10.213.97.1", before=there) as (_, port):
            address = f"10.213.97.1:{port}"
            code, output, errors = finish(
                measuring(task, address, "--seconds", "0.2", "--json", before=here)
            )
            unreachable = measuring(task, address, "--seconds", "0.2")
            assert finish(unreachable)[0] == 2, "only the other network reaches it"
    finally:
        remove(names)

    assert code == 0, errors
    (result,) = json.loads(output)["processors"]
    assert result["name"] == address
    assert result["metrics"]["snr"]["value"] == 150
    assert result["metrics"]["latency"]["value"] > 0


def test_devices_agent_writes_the_file_and_keeps_one_that_is_there(run, tmp_path):
    done = run("devices", "agent", "--write", "agent.py", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "agent.py").read_bytes() == AGENT_FILE.read_bytes()
    assert "python agent.py --listen ADDRESS" in done.stdout
    again = run("devices", "agent", "--write", "agent.py", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "packlight: 'agent.py' exists; name another file\n"


def test_devices_emulate_says_what_is_installed_and_asks_before_it_installs(run, tmp_path):
    empty = {"XDG_DATA_HOME": str(tmp_path)}
    done = run("devices", "emulate", cwd=tmp_path, **empty)
    assert done.stdout == ("The emulator is not installed: packlight devices emulate --install\n")
    asked = run("devices", "emulate", "--install", cwd=tmp_path, **empty)
    assert asked.returncode == 2
    assert "MB are downloaded" in asked.stdout
    assert asked.stderr == "packlight: nobody answers here; to install without asking, add --yes\n"
    assert not list(Path(tmp_path).iterdir())


@pytest.mark.slow
def test_a_machine_with_an_agent_becomes_a_device(run, tmp_path):
    with agent_at() as (_, port):
        done = run(
            "devices", "measure", "--quick", "--agent", f"127.0.0.1:{port}", "--name", "there",
            "-o", "there.toml", cwd=tmp_path, **TOKEN,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Written to there.toml" in done.stdout


def test_a_device_of_an_agent_needs_a_name(run, tmp_path):
    unnamed = run("devices", "measure", "--agent", "pi:1", cwd=tmp_path, **TOKEN)
    assert unnamed.stderr == (
        "packlight: a machine with an agent needs a name of your choice: --name NAME\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--cpu", "z80"), "a processor is one of cortex-a53, cortex-a72"),
        (("--agent", "pi:many"), "an agent is at HOST:PORT or ssh:HOST; got 'pi:many'"),
        (("--agent", "127.0.0.1:1"), "no agent answers at 127.0.0.1:1"),
    ],
)
def test_bad_input_is_one_sentence(run, task, arguments, sentence):
    done = run("portability", "small.onnx", "--task", "small.npz", *arguments, cwd=task, **TOKEN)
    assert done.returncode == 2
    assert done.stderr.startswith(f"packlight: {sentence}")
    assert done.stderr.count("\n") == 1
