"""Machines to measure on, by the names that users give them."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packlight.disk import scratch_folder
from packlight.errors import DeviceError
from packlight.machines.connection import GREETING_SECONDS, Connection
from packlight.machines.emulation import ARM, emulated_agent
from packlight.machines.journal import Journal
from packlight.machines.processes import agent_process
from packlight.machines.remote import RemoteMachine
from packlight.machines.without_vnni import copy_without_vnni, environment_with
from packlight.runtime import agent
from packlight.runtime.agent import PORT, TOKEN

AVX2 = "x86-avx2"
CPUS = (*ARM, AVX2)
"""Processors that a machine with x86-64 can stand for."""

SSH = "ssh:"
AGENT_FILE = Path(agent.__file__)
REMOTE_COMMAND = "python3 agent.py --stdio"
HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Target:
    """A machine to measure on.

    Attributes:
        name: as the user gives it.
        kind: how it is reached.
        title: for people.
    """

    name: str
    kind: Literal["emulated", "kernels", "agent"]
    title: str

    @contextlib.contextmanager
    def open(self, journal: Journal) -> Iterator[RemoteMachine]:
        """Reach the machine for as long as the context lasts.

        Raises:
            DeviceError: it cannot be reached.
        """
        with self._connection() as connection:
            processor = "" if self.kind == "agent" else self.name
            remote = RemoteMachine(connection, journal, processor)
            if self.kind == "kernels" and not remote.machine.saturates:
                raise DeviceError(
                    "sums of pairs do not saturate in the copy of ONNX Runtime, so its kernels are "
                    f"not those for AVX2; leave {self.name} out"
                )
            yield remote

    def _connection(self) -> AbstractContextManager[Connection]:
        if self.kind == "emulated":
            return _emulated(self.name)
        if self.kind == "kernels":
            return _kernels_for_avx2(self.name)
        if self.name.startswith(SSH):
            return _over_ssh(self.name)
        return _over_tcp(self.name)


def cpu_target(name: str) -> Target:
    """A processor that this machine stands for.

    Raises:
        DeviceError: there is none of this name.
    """
    if name in ARM:
        return Target(name, "emulated", f"{ARM[name].title}, emulated")
    if name == AVX2:
        return Target(name, "kernels", "kernels for AVX2 without VNNI, on this processor")
    raise DeviceError(f"a processor is one of {', '.join(CPUS)}; got '{name}'")


def agent_target(address: str) -> Target:
    """A machine with an agent.

    Args:
        address: ``HOST:PORT``, ``HOST`` or ``ssh:HOST``, where ``ssh:HOST COMMAND`` names another
            command than ``python3 agent.py --stdio``.

    Raises:
        DeviceError: it is none of these.
    """
    if address.startswith(SSH):
        ssh_command(address)
    else:
        host_and_port(address)
    return Target(address, "agent", f"the agent at {address}")


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of an address; an IPv6 host stands in brackets.

    >>> host_and_port("pi:7000"), host_and_port("[::1]")
    (('pi', 7000), ('::1', 7431))

    Raises:
        DeviceError: it is no address.
    """
    host, bracket, after = address.removeprefix("[").partition("]")
    if not bracket or not address.startswith("["):
        host, _, port = address.partition(":")
    else:
        port = after.removeprefix(":")
    valid = port.isascii() and port.isdigit() and 0 < int(port) <= HIGHEST_PORT
    if not host or not (valid or port == ""):
        raise DeviceError(f"an agent is at HOST:PORT or ssh:HOST; got '{address}'")
    return host, int(port or PORT)


def ssh_command(address: str) -> list[str]:
    """The command that starts an agent over ssh.

    Raises:
        DeviceError: the host is none.
    """
    host, _, command = address.removeprefix(SSH).partition(" ")
    if not host or host.startswith("-"):
        raise DeviceError(f"an agent is at HOST:PORT or ssh:HOST; got '{address}'")
    remote = command or REMOTE_COMMAND
    return ["ssh", "-T", "-o", "BatchMode=yes", "--", host, *shlex.split(remote)]


@contextlib.contextmanager
def _over_tcp(address: str) -> Iterator[Connection]:
    token = os.environ.get(TOKEN, "")
    if not token:
        raise DeviceError(
            f"{TOKEN} must hold the token that the agent at {address} printed when it started"
        )
    host, port = host_and_port(address)
    try:
        connection = socket.create_connection((host, port), GREETING_SECONDS)
    except OSError as error:
        raise DeviceError(
            f"no agent answers at {address} ({error.strerror or error}): start it there with "
            "`python agent.py --listen ADDRESS`; `packlight devices agent --write agent.py` "
            "writes the file"
        ) from error
    with connection:
        talk = Connection(connection, f"the agent at {address}")
        talk.greet(token)
        yield talk


@contextlib.contextmanager
def _over_ssh(address: str) -> Iterator[Connection]:
    title = f"the agent at {address}"
    try:
        with agent_process(ssh_command(address), os.environ, title) as connection:
            yield connection
    except FileNotFoundError as error:
        raise DeviceError("ssh is not installed here, so no agent is reached by it") from error


@contextlib.contextmanager
def _emulated(cpu: str) -> Iterator[Connection]:
    command, environment = emulated_agent(cpu, AGENT_FILE)
    with agent_process(command, environment, f"the emulated {cpu}") as connection:
        yield connection


@contextlib.contextmanager
def _kernels_for_avx2(name: str) -> Iterator[Connection]:
    with scratch_folder() as folder:
        copy_without_vnni(folder)
        command = [sys.executable, "-P", str(AGENT_FILE), "--stdio"]
        with agent_process(command, environment_with(folder), name) as connection:
            yield connection
