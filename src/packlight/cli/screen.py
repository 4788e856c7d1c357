"""Output: text and tables or JSON on stdout, a progress bar on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from packlight.disk import sweep, temporary_folder
from packlight.errors import InputError
from packlight.presentation.printable import printable
from packlight.records import to_json
from packlight.runtime.compiled_output import STDERR, STDOUT, redirected

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

    from packlight.runtime.progress import Progress

T = TypeVar("T")


def print_json(record: object) -> None:
    """Print a record or plain values as JSON in ASCII."""
    plain = record if isinstance(record, dict | list) else to_json(record)
    print(json.dumps(plain, indent=2, allow_nan=False).replace("\x7f", "\\u007f"))


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
    from rich.segment import Segment

    class Pipe(Console):
        """A console that prints no control character of a name, and raises on a closed pipe."""

        def render_str(self, text: str, **options: Any) -> Text:
            """Write out control characters before a text is measured."""
            return super().render_str(printable(text), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            """Write out those of all other texts."""
            for segment in super().render(renderable, options):
                if segment.control or segment.text.isprintable():
                    yield segment
                else:
                    lines = "\n".join(map(printable, segment.text.split("\n")))
                    yield Segment(lines, segment.style)

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

    Prints of a task and of compiled libraries go to stderr meanwhile. Before, temporary files of
    commands that were killed are removed.
    """
    with contextlib.suppress(InputError):  # nowhere to write, so nothing is left there
        sweep(temporary_folder())
    with contextlib.redirect_stdout(sys.stderr), redirected((STDOUT,), STDERR):
        if sys.stderr.isatty():
            from rich.console import Console

            from packlight.runtime.progress import bars

            with bars(Console(stderr=True, highlight=False, markup=False)) as progress:
                yield progress
        else:
            yield _ignore_progress


def _ignore_progress(what: str, done: int, total: int) -> None:
    del what, done, total
