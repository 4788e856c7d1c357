"""A conversation with an agent, whose every answer is taken for hostile.

The messages are those of ``runtime/agent.py``: a header of JSON, and arrays of numbers.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packlight.errors import DeviceError
from packlight.presentation.printable import printable
from packlight.runtime.agent import MAX_HEADER, proof, read_message, write_message

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]
Header = Mapping[str, Any]
Reply = tuple[dict[str, Any], dict[str, Array]]

ANSWER_SECONDS = 300.0
"""Longest time for one answer."""

GREETING_SECONDS = 10.0
MAX_GREETING = 4096
LONGEST_REASON = 300
PIECE = 1 << 20
RESUMES = "the same command goes on where this one ended"


class Stream:
    """A socket as a stream of bytes whose reads and writes end by a deadline.

    Attributes:
        connection: the socket.
        deadline: of the monotonic clock, in seconds.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.deadline = 0.0

    def read(self, count: int) -> bytes:
        """So many bytes, or fewer where the other side ended the conversation."""
        content = bytearray()
        while len(content) < count:
            self._allow_remaining_time()
            piece = self.connection.recv(min(PIECE, count - len(content)))
            if not piece:
                break
            content += piece
        return bytes(content)

    def write(self, content: bytes) -> None:
        """Send bytes."""
        self._allow_remaining_time()
        self.connection.sendall(content)

    def flush(self) -> None:
        """Do nothing: what is written is sent at once."""

    def _allow_remaining_time(self) -> None:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.connection.settimeout(remaining)


class Connection:
    """A conversation with an agent.

    Args:
        connection: the socket; closed at the end.
        title: of the agent, for messages.
        ending: reason why the agent's process ended, where it is known.
    """

    def __init__(
        self, connection: socket.socket, title: str, ending: Callable[[], str] = str
    ) -> None:
        self.title = title
        self._ending = ending
        self._stream = Stream(connection)

    def ask(
        self, header: Header, arrays: Arrays, *, seconds: float = ANSWER_SECONDS,
        max_header: int = MAX_HEADER,
    ) -> Reply:  # fmt: skip
        """Send a request and return its answer.

        Raises:
            DeviceError: there is no answer in time, none of this form, or it is an error.
        """
        try:
            self._stream.deadline = time.monotonic() + seconds
            write_message(self._stream, dict(header), dict(arrays))
            return self._checked(read_message(self._stream, max_header))
        except (OSError, EOFError, ValueError) as error:
            raise self._sentence(error, seconds) from error

    def greet(self, token: str) -> None:
        """Prove to an agent that this side knows the token, and let it prove the same.

        Raises:
            DeviceError: the token is another one, or no agent answers.
        """
        try:
            self._stream.deadline = time.monotonic() + GREETING_SECONDS
            header, _ = read_message(self._stream, MAX_GREETING, 0)
            nonces = [str(header.get("nonce")), secrets.token_hex(16)]
            answer = {"nonce": nonces[1], "proof": proof(token, "client", nonces)}
            write_message(self._stream, answer, {})
            reply, _ = read_message(self._stream, MAX_GREETING, 0)
        except (OSError, EOFError, ValueError) as error:
            raise self._sentence(error, GREETING_SECONDS) from error
        if reply.get("proof") != proof(token, "agent", nonces):
            raise DeviceError(
                f"{self.title} has another token; set PACKLIGHT_AGENT_TOKEN to the one that it "
                "printed when it started"
            )

    def _checked(self, reply: Reply) -> Reply:
        reason = reply[0].get("error")
        if reason is not None:
            raise DeviceError(f"{self.title} failed: {_short(reason)}")
        return reply

    def _sentence(self, error: Exception, seconds: float) -> DeviceError:
        if isinstance(error, TimeoutError):
            return DeviceError(f"{self.title} did not answer within {seconds:g} s")
        if isinstance(error, OSError | EOFError):
            reason = self._ending()
            because = f" ({_short(reason)})" if reason else ""
            return DeviceError(
                f"{self.title} ended the conversation{because}; start it again, and {RESUMES}"
            )
        return DeviceError(f"{self.title} sent what no agent sends: {_short(error)}")


def _short(reason: object) -> str:
    return printable(str(reason)[:LONGEST_REASON])
