"""Reports of the progress of a long job."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING

from packlight.presentation.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]
"""Called with the current job, steps done and steps in all."""


def silent(what: str, done: int, total: int) -> None:
    """Discard reports of progress."""
    del what, done, total


@contextlib.contextmanager
def notebook_progress(given: Progress | None) -> Iterator[Progress]:
    """Yield the given progress; without one, a bar in a notebook and silence elsewhere."""
    if given is not None:
        yield given
    elif in_notebook():
        with notebook_bar() as progress:
            yield progress
    else:
        yield silent


def in_notebook() -> bool:
    """Tell if this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextlib.contextmanager
def notebook_bar() -> Iterator[Progress]:
    """Show a progress bar in a notebook, and remove it at the end.

    It is an element of HTML that is replaced in place, so it needs no widgets.
    """
    display = import_module("IPython.display")
    handle = display.display(display.HTML(""), display_id=True)

    def progress(what: str, done: int, total: int) -> None:
        text = f'<progress value="{done}" max="{max(total, 1)}"></progress> {escape(what)}'
        handle.update(display.HTML(text))

    try:
        yield progress
    finally:
        handle.update(display.HTML(""))


WITHIN = ("calibrating", "evaluating")
"""Progress texts of a step within a longer job."""


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """Show two progress bars: for the job and for its current step."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - only where it is shown
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), TaskProgressColumn())
    with Bars(*columns, TimeElapsedColumn(), console=console, transient=True) as live:
        job = live.add_task("starting", total=None)
        step = live.add_task("", total=None, visible=False)

        def progress(what: str, done: int, total: int) -> None:
            within = what in WITHIN
            bar = step if within else job
            live.update(bar, description=printable(what), completed=done, total=total, visible=True)
            live.update(step, visible=within)

        yield progress
