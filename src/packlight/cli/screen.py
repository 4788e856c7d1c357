"""What reaches the screen: text and tables or JSON on stdout, a progress bar on stderr."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from packlight.records import to_json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from packlight.runtime.progress import Progress

WITHIN = ("calibrating", "evaluating")
"""Progress that belongs to one step of a longer job."""


def print_json(record: object) -> None:
    """A record, or plain values, as JSON in ASCII, which every terminal and pipe can take."""
    plain = record if isinstance(record, dict | list) else to_json(record)
    print(json.dumps(plain, indent=2, allow_nan=False))


def screen() -> Console:
    """Standard output for people: 80 columns where it is no terminal, unless COLUMNS says so."""
    from rich.console import Console

    class Pipe(Console):
        """A console that leaves a closed pipe to whoever runs the command."""

        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError

    return Pipe(highlight=False, markup=False, emoji=False)


def say(console: Console, *parts: RenderableType) -> None:
    """Print parts one below the other, with an empty line between them."""
    for part in parts:
        console.print(part)
        console.print()


@contextlib.contextmanager
def working() -> Iterator[Progress]:
    """Show progress on stderr if it is a terminal, and keep stdout for the result.

    What a task's own code prints meanwhile goes to stderr, and what libraries print below Python.
    """
    with contextlib.redirect_stdout(sys.stderr), below_python():
        if sys.stderr.isatty():
            with bars() as progress:
                yield progress
        else:
            yield unseen


STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def below_python() -> Iterator[None]:
    """Lead what compiled code writes to stdout to stderr; HiGHS, for one, tells of its steps."""
    try:
        kept = os.dup(STDOUT)
        os.dup2(STDERR, STDOUT)
    except OSError:  # one of the two is closed
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError, TypeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, STDOUT)
        os.close(kept)


def unseen(what: str, done: int, total: int) -> None:
    """Progress where nobody sees it."""
    del what, done, total


@contextlib.contextmanager
def bars() -> Iterator[Progress]:
    """A bar for the job and one for the step that it is in."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn())
    shown = Console(stderr=True, highlight=False, markup=False)
    with Bars(*columns, TimeElapsedColumn(), console=shown, transient=True) as live:
        job, step = live.add_task("starting", total=None), live.add_task("", total=None)
        live.update(step, visible=False)

        def progress(what: str, done: int, total: int) -> None:
            within = what in WITHIN
            live.update(
                step if within else job, description=what, completed=done, total=total, visible=True
            )
            live.update(step, visible=within)

        yield progress
