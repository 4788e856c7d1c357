"""Agents in processes of this machine, which end with the conversation."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from packlight.machines.connection import Connection

ENDING_SECONDS = 5.0


@contextlib.contextmanager
def agent_process(
    command: Sequence[str], environment: Mapping[str, str], title: str
) -> Iterator[Connection]:
    """Start an agent that speaks over its stdin and stdout; it ends with the context.

    Args:
        command: with ``--stdio``.
        environment: of the process.
        title: of the agent, for messages.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(  # noqa: S603 - no shell runs, and the command is ours or the user's
            list(command),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=errors,
            env=dict(environment),
        )
        theirs.close()
        try:
            yield Connection(ours, title, lambda: _last_line(errors))
        finally:
            ours.close()
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to end, and kill it where it does not."""
    try:
        child.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
