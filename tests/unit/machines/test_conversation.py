"""Messages between packlight and an agent: an answer is taken for hostile, a request has limits."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from packlight.errors import DeviceError
from packlight.machines import Connection, Journal, RemoteMachine, agent_target
from packlight.machines.remote import RemoteModel, remote_session
from packlight.machines.targets import AGENT_FILE, host_and_port, ssh_command
from packlight.records import SessionOptions
from packlight.runtime import open_session
from packlight.runtime.agent import read_message, write_message

from .conftest import start_agent, stop


def test_the_agent_is_one_short_file_of_three_packages():
    text = AGENT_FILE.read_text()
    imported = {
        line.split()[1].partition(".")[0]
        for line in text.splitlines()
        if line.startswith(("import ", "from "))
    }

    assert len(text.splitlines()) <= 300
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime"}
    assert "pickle" not in text


@pytest.mark.parametrize("dtype", ["bool", "float16", "float64", "int8", "uint64"])
def test_arrays_arrive_as_they_were_sent(dtype):
    ours, theirs = socket.socketpair()
    arrays = {"a": np.arange(6).reshape(2, 3).astype(dtype), "empty": np.zeros((0, 4), dtype)}
    with ours, theirs, ours.makefile("wb") as output, theirs.makefile("rb") as stream:
        write_message(output, {"op": "x"}, arrays)
        header, received = read_message(stream)

    assert header["op"] == "x"
    for name, array in arrays.items():
        assert received[name].dtype == array.dtype
        np.testing.assert_array_equal(received[name], array)


def test_outputs_latency_and_memory_of_an_agent_are_those_of_its_machine(
    conversation, integers, samples
):
    remote = RemoteMachine(conversation, Journal())
    model = RemoteModel(remote, integers.read_bytes(), SessionOptions())
    here = open_session(integers, SessionOptions())
    there = remote_session(model, here)
    feeds = {"x": np.load(samples)["x"][:1]}

    np.testing.assert_array_equal(there.run(feeds)["y"], here.run(feeds)["y"])
    taken = model.time([feeds], {}, seconds=0.02, least=5, most=200)
    assert 5 <= len(taken) <= 200
    assert 0 < model.peak_memory([feeds], {}, 0) < 1e9
    assert remote.machine.cores >= 1


def message(header, payload=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + payload


HOSTILE = {
    "no JSON": message(b"{" * 40),
    "deep JSON": message(b'{"arrays":' + b"[" * 9000 + b"]" * 9000 + b"}"),
    "a list": message(b"[]"),
    "a huge header": (1 << 31).to_bytes(4, "big"),
    "a huge payload": message({"arrays": [], "size": 1 << 40}),
    "a size of another type": message({"arrays": [], "size": True}),
    "NaN": message(b'{"arrays": [], "size": 0, "have": NaN}'),
    "bytes of no array": message({"arrays": [], "size": 3}, b"abc"),
    "an object": message({"arrays": [["a", "object", [1]]], "size": 8}, b"12345678"),
    "a negative shape": message({"arrays": [["a", "int8", [-1]]], "size": 1}, b"1"),
    "many dimensions": message({"arrays": [["a", "int8", [1] * 40]], "size": 1}, b"1"),
    "fewer bytes": message({"arrays": [["a", "int64", [4]]], "size": 8}, b"12345678"),
    "an overflow": message({"arrays": [["a", "int8", [1 << 27] * 9]], "size": 1}, b"1"),
    "no facts": message({"arrays": [], "size": 0}),
    "an escape": message({"arrays": [], "size": 0, "error": "\x1b[2J" + "x" * 9000}),
    "nothing": b"",
    "half": message({"arrays": [], "size": 100}, b"1"),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_is_one_short_sentence(answer):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(DeviceError) as refused:
            RemoteMachine(Connection(ours, "the agent"), Journal())

    text = str(refused.value)
    assert text.startswith("the agent ")
    assert text.isprintable()
    assert len(text) < 480


class Impostor:
    """An agent's machine whose answers to one operation are replaced."""

    def __init__(self, connection, op, reply, arrays=None):
        self.connection = connection
        self.title = "the agent"
        self.op = op
        self.reply = reply
        self.arrays = arrays or {}

    def ask(self, header, arrays, **options):
        if header["op"] == self.op:
            return dict(self.reply), self.arrays
        return self.connection.ask(header, arrays, **options)


FEEDS = {"x": np.full((1, 32), 0.75, np.float32)}
WRONG_TIMES = {
    "none": [], "a text": "fast", "NaN": [float("nan")] * 5, "negative": [-1.0] * 5,
    "zero": [0.0] * 5, "longer than has passed": [9.0] * 5, "whole numbers": [1, 2, 3],
    "too many": [1e-9] * 5000,
}  # fmt: skip


@pytest.mark.parametrize("times", WRONG_TIMES.values(), ids=WRONG_TIMES)
def test_times_that_cannot_be_are_refused(conversation, integers, times):
    remote = RemoteMachine(conversation, Journal())
    remote.connection = Impostor(conversation, "time", {"seconds": times})
    model = RemoteModel(remote, integers.read_bytes(), SessionOptions())

    with pytest.raises(DeviceError, match="the agent sent what no agent sends"):
        model.time([FEEDS], {}, seconds=0.01, least=2, most=9)


WRONG_OUTPUTS = {
    "another name": {"z": np.zeros((1, 10), np.float32)},
    "another type": {"y": np.zeros((1, 10), np.float64)},
    "another shape": {"y": np.zeros((1, 11), np.float32)},
    "none": {},
}


@pytest.mark.parametrize("arrays", WRONG_OUTPUTS.values(), ids=WRONG_OUTPUTS)
def test_outputs_that_the_model_does_not_have_are_refused(conversation, integers, arrays):
    remote = RemoteMachine(conversation, Journal())
    remote.connection = Impostor(conversation, "run", {}, arrays)
    model = RemoteModel(remote, integers.read_bytes(), SessionOptions())
    there = remote_session(model, open_session(integers, SessionOptions()))

    with pytest.raises(DeviceError, match="the agent sent what no agent sends"):
        there.run(FEEDS)


@pytest.mark.parametrize("sizes", [[5, 4], [0, 9], [1.5, 2], "much", [1, 1 << 60]])
def test_memory_that_cannot_be_is_refused(conversation, integers, sizes):
    remote = RemoteMachine(conversation, Journal())
    remote.connection = Impostor(conversation, "memory", {"bytes": sizes})
    model = RemoteModel(remote, integers.read_bytes(), SessionOptions())

    with pytest.raises(DeviceError, match="the agent sent what no agent sends"):
        model.peak_memory([FEEDS], {}, 0)


def test_a_slow_answer_ends_in_time():
    ours, theirs = socket.socketpair()
    drip = threading.Event()

    def send_slowly():
        theirs.send((9000).to_bytes(4, "big"))
        while not drip.wait(0.02):
            theirs.send(b"\0")

    with ours, theirs:
        sender = threading.Thread(target=send_slowly)
        sender.start()
        with pytest.raises(DeviceError, match=r"did not answer within 0\.2 s"):
            Connection(ours, "the agent").ask({"op": "facts"}, {}, seconds=0.2)
        drip.set()
        sender.join()


def test_another_token_is_refused_by_both_sides(address, monkeypatch):
    monkeypatch.setenv("PACKLIGHT_AGENT_TOKEN", "guess")
    with (
        pytest.raises(DeviceError, match="has another token; set PACKLIGHT_AGENT_TOKEN"),
        agent_target(address).open(Journal()),
    ):
        pass


def test_an_agent_that_does_not_know_the_token_is_refused():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(message({"arrays": [], "size": 0, "nonce": "1"}))
        theirs.sendall(message({"arrays": [], "size": 0, "proof": "0" * 64}))
        with pytest.raises(DeviceError, match="has another token"):
            Connection(ours, "the agent").greet("secret")


def test_without_a_token_or_an_agent_the_sentence_says_what_to_do(monkeypatch):
    monkeypatch.delenv("PACKLIGHT_AGENT_TOKEN", raising=False)
    with (
        pytest.raises(DeviceError, match="must hold the token that the agent at pi:1 printed"),
        agent_target("pi:1").open(Journal()),
    ):
        pass
    monkeypatch.setenv("PACKLIGHT_AGENT_TOKEN", "any")
    with (
        pytest.raises(DeviceError, match=r"no agent answers at 127\.0\.0\.1:1"),
        agent_target("127.0.0.1:1").open(Journal()),
    ):
        pass


def test_a_model_that_is_too_large_for_the_agent_is_one_sentence(token, integers):
    agent, port = start_agent("--max-model", "900")
    try:
        with (
            pytest.raises(DeviceError, match=r"a model of \d+ bytes; this agent takes at most 900"),
            agent_target(f"127.0.0.1:{port}").open(Journal()) as remote,
        ):
            RemoteModel(remote, integers.read_bytes() * 9, SessionOptions()).run(FEEDS)
    finally:
        stop(agent)


def test_bytes_that_are_not_those_of_the_digest_are_refused(conversation):
    other = hashlib.sha256(b"other").hexdigest()
    piece = np.frombuffer(b"model", np.uint8)
    with pytest.raises(DeviceError, match="not those of its digest"):
        conversation.ask({"op": "put", "model": other, "total": 5, "offset": 0}, {"piece": piece})


@pytest.mark.parametrize("digest", ["../../x", "a" * 63, 5, "A" * 64])
def test_a_model_is_named_by_its_digest_alone(conversation, digest):
    piece = np.zeros(5, np.uint8)
    with pytest.raises(DeviceError, match="named by its SHA-256 digest"):
        conversation.ask({"op": "put", "model": digest, "total": 5, "offset": 0}, {"piece": piece})


def test_answers_in_a_journal_are_not_asked_for_again(integers, tmp_path):
    path = tmp_path / "answers"
    command = [sys.executable, "-P", str(AGENT_FILE), "--stdio"]
    from packlight.machines.processes import agent_process

    with agent_process(command, os.environ, "the agent") as connection:
        remote = RemoteMachine(connection, Journal(path))
        model = RemoteModel(remote, integers.read_bytes(), SessionOptions())
        first = model.run(FEEDS)
        taken = model.time([FEEDS], {}, seconds=0.01, least=2, most=9)
    complete = path.read_bytes()
    path.write_bytes(complete[:-7])  # killed while it wrote the last answer

    with agent_process(command, os.environ, "the agent") as connection:
        journal = Journal(path)
        remote = RemoteMachine(connection, journal)
        remote.connection = Impostor(connection, "run", {}, {})  # would answer nothing
        model = RemoteModel(remote, integers.read_bytes(), SessionOptions())
        np.testing.assert_array_equal(model.run(FEEDS)["y"], first["y"])
        again = model.time([FEEDS], {}, seconds=0.01, least=2, most=9)

    assert again != taken
    assert len(Journal(path)) == 3


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "answers"
    path.write_bytes(message({"arrays": [], "size": 0}))
    with pytest.raises(DeviceError, match="must hold answers of an earlier measurement"):
        Journal(path)


@pytest.mark.parametrize("address", ["", ":7", "pi:x", "pi:0", "pi:99999", "ssh:", "ssh:-oProxy=x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(DeviceError, match=r"an agent is at HOST:PORT or ssh:HOST"):
        agent_target(address)


def test_addresses_have_a_host_and_a_port():
    assert host_and_port("pi") == ("pi", 7431)
    assert host_and_port("[fe80::1]:80") == ("fe80::1", 80)
    assert ssh_command("ssh:me@pi")[-4:] == ["me@pi", "python3", "agent.py", "--stdio"]
    assert ssh_command("ssh:pi venv/bin/python a.py --stdio")[-3:] == [
        "venv/bin/python", "a.py", "--stdio",
    ]  # fmt: skip


def test_an_agent_is_reached_over_ssh(tmp_path, monkeypatch):
    """A program of the name runs the command here, as ssh runs it there."""
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    address = f"ssh:me@pi {sys.executable} -P {AGENT_FILE} --stdio"
    with agent_target(address).open(Journal()) as remote:
        assert remote.machine.onnxruntime

    with (
        pytest.raises(DeviceError, match=r"ended the conversation \(.*cannot.*\); start it again"),
        agent_target("ssh:me@pi false-command-that-cannot-be").open(Journal()),
    ):
        pass


def test_an_agent_without_a_token_of_its_own_prints_one():
    environment = {**os.environ}
    environment.pop("PACKLIGHT_AGENT_TOKEN", None)
    command = [sys.executable, "-P", str(AGENT_FILE), "--port", "0"]
    agent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    lines = [agent.stdout.readline(), agent.stdout.readline()]
    stop(agent)

    assert lines[0].startswith("listening at 127.0.0.1:")
    assert len(lines[1].strip().removeprefix("PACKLIGHT_AGENT_TOKEN=")) > 30
