"""Output: text and tables or JSON on stdout, a progress bar on stderr."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn, TypeVar

from packlight.records import to_json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from packlight.runtime.progress import Progress

T = TypeVar("T")


def print_json(record: object) -> None:
    """Print a record or plain values as JSON in ASCII."""
    plain = record if isinstance(record, dict | list) else to_json(record)
    print(json.dumps(plain, indent=2, allow_nan=False))


def print_record(
    record: T, parts: Callable[[T], Iterable[RenderableType]], *, as_json: bool
) -> None:
    """Print a record as JSON, or as parts for people."""
    if as_json:
        print_json(record)
    else:
        say(screen(), *parts(record))


def screen() -> Console:
    """Console on stdout; 80 columns if it is no terminal, or COLUMNS."""
    from rich.console import Console

    class Pipe(Console):
        """A console that raises the error of a closed pipe."""

        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError

    return Pipe(highlight=False, markup=False, emoji=False)


def say(console: Console, *parts: RenderableType) -> None:
    """Print parts with an empty line after each."""
    for part in parts:
        console.print(part)
        console.print()


@contextlib.contextmanager
def working() -> Iterator[Progress]:
    """Show progress on stderr if it is a terminal, and keep stdout for the result.

    Prints of a task and of compiled libraries go to stderr meanwhile.
    """
    with contextlib.redirect_stdout(sys.stderr), redirect_compiled():
        if sys.stderr.isatty():
            from rich.console import Console

            from packlight.runtime.progress import bars

            with bars(Console(stderr=True, highlight=False, markup=False)) as progress:
                yield progress
        else:
            yield _ignore_progress


STDOUT = 1
STDERR = 2


@contextlib.contextmanager
def redirect_compiled() -> Iterator[None]:
    """Redirect stdout of compiled code, such as the log of HiGHS, to stderr."""
    try:
        saved = os.dup(STDOUT)
        os.dup2(STDERR, STDOUT)
    except OSError:  # one of the two is closed
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError, TypeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(saved, STDOUT)
        os.close(saved)


def _ignore_progress(what: str, done: int, total: int) -> None:
    del what, done, total
