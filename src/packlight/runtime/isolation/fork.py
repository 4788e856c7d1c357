"""Run work in a copy of this process, on a second core."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import TypeVar

from packlight.runtime.isolation.limits import end_with_parent

T = TypeVar("T")


@contextlib.contextmanager
def forked(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Start work in a copy of this process; yield a function that waits for its result.

    Only for a process with a single thread. Where the system cannot fork, that function does the
    work. A signal that ends the copy, such as that of a time limit, ends this process too.

    Args:
        work: its result or error comes back pickled.
    """
    if not can_fork():
        yield work
        return
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    copy = context.Process(target=send, args=(sender, work), daemon=True)
    copy.start()
    sender.close()

    def result() -> T:
        try:
            answer, error = receiver.recv()
        except EOFError:
            copy.join()
            if copy.exitcode is not None and copy.exitcode < 0:
                os.kill(os.getpid(), -copy.exitcode)
            raise
        if error is not None:
            raise error
        value: T = answer
        return value

    try:
        yield result
    finally:
        copy.kill()
        receiver.close()


def can_fork() -> bool:
    """Test whether the system can copy a process."""
    return "fork" in multiprocessing.get_all_start_methods()


def send(sender: Connection, work: Callable[[], object]) -> None:
    """Do the work and send its result or error."""
    end_with_parent()
    try:
        sender.send((work(), None))
    except Exception as error:
        sender.send((None, error))
