"""Models on another machine: what they compute there, how fast, and in how much memory."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from packlight.errors import DeviceError, InputError
from packlight.machines.connection import ANSWER_SECONDS, Arrays, Connection, Header, Reply
from packlight.machines.facts import host_name, machine_of
from packlight.machines.journal import Journal
from packlight.model import to_bytes
from packlight.records.session import SessionOptions
from packlight.runtime import Feeds, Session, Steps
from packlight.runtime.agent import MAX_MODEL, MAX_PAYLOAD, MAX_RUNS, MAX_SECONDS
from packlight.runtime.calls import DTYPES, Array
from packlight.runtime.hardware import EXPECTED, probe_inputs, saturation_probe
from packlight.runtime.memory import identity_model

CHUNK = 8 << 20
"""Bytes of a model in one message."""

MOST_MEMORY = 1 << 50
CLOCK_TOLERANCE = 1.02
"""Factor by which an agent's times may exceed the time that passed here: clocks differ."""


class RemoteMachine:
    """A machine that runs models through its agent.

    Args:
        connection: to the agent.
        journal: answers of an interrupted measurement; what it holds is not asked for again.
        processor: that is emulated, or whose kernels run; empty for the machine as it is.

    Attributes:
        name: of the machine in its network.
        machine: its record.
        title: of the agent, for messages.

    Raises:
        DeviceError: the agent does not answer as one does.
    """

    def __init__(self, connection: Connection, journal: Journal, processor: str = "") -> None:
        self.connection = connection
        self.journal = journal
        self.processor = processor
        self.title = connection.title
        facts, _ = connection.ask({"op": "facts"}, {})
        self.name = host_name(facts, self.title)
        self.machine = machine_of(facts, self.title, saturates=False)
        probe = RemoteModel(self, to_bytes(saturation_probe()), SessionOptions())
        sums = probe.run(probe_inputs()).get("y", np.zeros(0))
        self.machine = replace(self.machine, saturates=bool((sums != EXPECTED).any()))

    def send(self, content: bytes, key: str) -> None:
        """Send a model, in pieces.

        Raises:
            DeviceError: the agent does not take it.
        """
        if len(content) > MAX_MODEL:
            raise DeviceError(
                f"{self.title} takes models of at most {MAX_MODEL >> 30} GB; this one has "
                f"{len(content) / (1 << 30):.1f} GB"
            )
        arrived = 0
        while True:
            piece = np.frombuffer(content[arrived : arrived + CHUNK], np.uint8)
            request = {"op": "put", "model": key, "total": len(content), "offset": arrived}
            reply, _ = self.connection.ask(request, {"piece": piece})
            have = reply.get("have")
            if type(have) is not int or not arrived < have <= len(content):
                raise self.malformed("a size that no piece has")
            arrived = have
            if arrived == len(content):
                return

    def malformed(self, what: str) -> DeviceError:
        """Error for an answer that no agent gives."""
        return DeviceError(f"{self.title} sent what no agent sends: {what}")


class RemoteModel:
    """A model on another machine, sent and opened at its first use.

    Args:
        remote: the machine.
        content: of the model's file.
        options: of the session.
        number: tells sessions of one model apart.

    Raises:
        InputError: the options ask for exact arithmetic, which only this machine computes.
    """

    def __init__(
        self, remote: RemoteMachine, content: bytes, options: SessionOptions, number: int = 0
    ) -> None:
        if options.arithmetic == "exact":
            raise InputError("exact arithmetic is the same on every machine; leave it out")
        self.remote = remote
        self.content = content
        self.key = hashlib.sha256(content).hexdigest()
        self.options = {"threads": options.threads, "accuracy": options.matmul_accuracy}
        self.number = number
        self._session = ""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call, as they came."""
        size = sum(array.nbytes for array in feeds.values())
        if size > MAX_PAYLOAD:
            raise DeviceError(
                f"{self.remote.title} takes inputs of at most {MAX_PAYLOAD >> 20} MB in a call; "
                f"these have {size >> 20} MB"
            )
        return self._ask({"op": "run"}, feeds)[1]

    def time(
        self, steps: Steps, state: Mapping[str, str], *, seconds: float, least: int, most: int
    ) -> list[float]:
        """Seconds of one call of the model, run after run.

        Args:
            steps: of a sample.
            state: by output, the input that it feeds at the next step.
            seconds: to spend.
            least: runs, however long they take.
            most: runs.
        """
        limits = {"seconds": min(seconds, MAX_SECONDS), "least": least, "most": most}
        request = {"op": "time", **limits, **_listed(steps), "state": dict(state)}
        start = time.monotonic()
        reply, _ = self._ask(request, _numbered(steps), ANSWER_SECONDS + seconds)
        passed = time.monotonic() - start
        taken = reply.get("seconds")
        if not isinstance(taken, list) or not 1 <= len(taken) <= MAX_RUNS:
            raise self.remote.malformed("no list of times")
        if not all(_is_positive(value) for value in taken):
            raise self.remote.malformed("times that are no positive numbers")
        fresh = "key" not in reply
        if fresh and sum(taken) * len(steps) > passed * CLOCK_TOLERANCE:
            raise self.remote.malformed("longer times than have passed")
        return [float(value) for value in taken]

    def peak_memory(self, steps: Steps, state: Mapping[str, str], repeat: int) -> float:
        """Bytes that a fresh process needs for the model, beyond the empty runtime.

        Args:
            steps: of a sample.
            state: by output, the input that it feeds at the next step.
            repeat: tells one measurement from the next.
        """
        trivial = to_bytes(identity_model())
        key = hashlib.sha256(trivial).hexdigest()

        def ask() -> Reply:
            self.remote.send(trivial, key)
            self.remote.send(self.content, self.key)
            return self.remote.connection.ask({**request, **self.options}, _numbered(steps))

        request = {"op": "memory", "model": self.key, "trivial": key, "repeat": repeat,
                   **_listed(steps), "state": dict(state)}  # fmt: skip
        reply, _ = self.remote.journal.answer(self._stated(request), _numbered(steps), ask)
        sizes = reply.get("bytes")
        if not isinstance(sizes, list) or [type(size) for size in sizes] != [int, int]:
            raise self.remote.malformed("no two sizes")
        before, peak = sizes
        if not 0 < before <= peak <= MOST_MEMORY:
            raise self.remote.malformed("a peak below its start")
        return float(peak - before)

    def _ask(self, request: Header, arrays: Arrays, seconds: float = ANSWER_SECONDS) -> Reply:
        def ask() -> Reply:
            named = {**request, "session": self._opened()}
            return self.remote.connection.ask(named, arrays, seconds=seconds)

        return self.remote.journal.answer(self._stated(request), arrays, ask)

    def _stated(self, request: Header) -> dict[str, Any]:
        """A request with all that its answer depends on."""
        return {
            **request, **self.options, "model": self.key, "number": self.number,
            "machine": asdict(replace(self.remote.machine, saturates=False)),
            "name": self.remote.name, "processor": self.remote.processor,
        }  # fmt: skip

    def _opened(self) -> str:
        if not self._session:
            self.remote.send(self.content, self.key)
            request = {"op": "open", "model": self.key, **self.options}
            reply, _ = self.remote.connection.ask(request, {})
            if not isinstance(reply.get("session"), str):
                raise self.remote.malformed("no session")
            self._session = reply["session"]
        return self._session


@dataclass(frozen=True, slots=True, eq=False)
class RemoteSession(Session):
    """A session whose calls run on another machine; inputs are checked here.

    Attributes:
        model: on that machine.
    """

    model: RemoteModel

    def call(self, feeds: Feeds) -> list[Array]:
        """Outputs in order, checked against those that the model states."""
        outputs = self.model.run(feeds)
        if list(outputs) != list(self.outputs):
            raise self.model.remote.malformed("other outputs than the model has")
        for node in self.native.get_outputs():
            expected = DTYPES.get(node.type)
            if expected is None or outputs[node.name].dtype != expected:
                raise self.model.remote.malformed(f"output '{node.name}' of another type")
            if not _fits(node.shape, outputs[node.name].shape):
                raise self.model.remote.malformed(f"output '{node.name}' of another shape")
        return list(outputs.values())


def remote_session(model: RemoteModel, local: Session) -> RemoteSession:
    """The session of a model on another machine.

    Args:
        model: there.
        local: session of the same model here.
    """
    return RemoteSession(
        local.options, local.inexact, local.name, local.native, local.inputs, local.outputs, model
    )


def _fits(stated: Sequence[object], shape: Sequence[int]) -> bool:
    """Test a shape against a stated one, whose open dimensions are no numbers."""
    if len(stated) != len(shape):
        return not stated
    return all(
        not isinstance(size, int) or size == length
        for size, length in zip(stated, shape, strict=True)
    )


def _listed(steps: Steps) -> dict[str, Any]:
    """Step by step, the inputs and the names of the arrays that they take."""
    named = [{name: f"{step}.{name}" for name in feeds} for step, feeds in enumerate(steps)]
    return {"steps": named}


def _numbered(steps: Steps) -> dict[str, Array]:
    return {
        f"{step}.{name}": array for step, feeds in enumerate(steps) for name, array in feeds.items()
    }


def _is_positive(value: object) -> bool:
    return type(value) is float and math.isfinite(value) and value > 0
