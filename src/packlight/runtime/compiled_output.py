"""Where compiled code prints: it knows the file descriptors, and nothing of ``sys.stdout``."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

STDOUT = 1
STDERR = 2


@contextmanager
def redirected(sources: Sequence[int], target: int) -> Iterator[None]:
    """Lead file descriptors to another one while a ``with`` block runs."""
    try:
        saved = {source: os.dup(source) for source in sources}
    except OSError:  # one of them is closed
        yield
        return
    _flush()
    try:
        for source in sources:
            os.dup2(target, source)
        yield
    finally:
        _flush()
        for source, copy in saved.items():
            os.dup2(copy, source)
            os.close(copy)


@contextmanager
def silenced() -> Iterator[None]:
    """Drop whatever compiled code prints while a ``with`` block runs.

    Solvers print lines that no option of theirs turns off.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with redirected((STDOUT, STDERR), nowhere):
            yield
    finally:
        os.close(nowhere)


def _flush() -> None:
    """Write what the C library holds back."""
    with suppress(OSError, TypeError):
        ctypes.CDLL(None).fflush(None)
