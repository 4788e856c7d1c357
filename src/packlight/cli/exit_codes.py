"""How a command ends: its exit code and, where it did not succeed, one message on stderr.

0    done
1    done, but a budget is missed or undecided, or a check of packlight's own fails
2    bad input
70   a defect of packlight (EX_SOFTWARE of sysexits.h)
130  interrupted, by Ctrl-C or SIGTERM
141  nobody reads the output any more, as after ``| head``
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from packlight.errors import CheckError, InputError

DONE, UNMET, BAD_INPUT, DEFECT, INTERRUPTED, UNREAD = 0, 1, 2, 70, 130, 141
LONGEST = 480
"""Letters of a message; of a longer one, its start and its end."""

OF_THE_MACHINE = (OSError, MemoryError)


class Stopped(KeyboardInterrupt):
    """Interrupted, with what the user should know."""


@contextmanager
def resumable(project: Path) -> Iterator[None]:
    """Say where an interrupted command left its work."""
    try:
        yield
    except BaseException as error:
        if interruption(error) is None or not project.is_dir():
            raise
        raise Stopped(
            f"what was measured is kept in '{project}'; the same command goes on from there"
        ) from error


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """What was interrupted, where an error is or comes of that.

    Compiled code and converters that are interrupted raise errors of their own.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause


def ended(error: BaseException, *, debug: bool, stopped: bool = False) -> int:
    """The exit code for an error, after telling it on stderr.

    Args:
        error: that a command ends with.
        debug: whether to show where it comes from.
        stopped: whether the command was told to stop before.
    """
    if stopped or interruption(error) is not None:
        error = interruption(error) or KeyboardInterrupt()
    if isinstance(error, SystemExit | typer.Exit):
        return exit_code(error)
    if isinstance(error, BrokenPipeError):
        hush()
        return UNREAD
    code, message = told(error)
    if debug:
        traceback.print_exception(error)
    print(f"packlight: {one_line(message)}", file=sys.stderr)
    return code


def one_line(message: str) -> str:
    """A message that stays one line of a terminal's own text, whatever names it repeats.

    Names come from files that others wrote: they may be long, and hold codes for the terminal.

    >>> one_line("no operator 'a\\x1b[2J'")
    "no operator 'a\\\\x1b[2J'"
    """
    plain = "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in message
    )
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST // 2]} ... {plain[-LONGEST // 3 :]}"


def told(error: BaseException) -> tuple[int, str]:
    """The exit code and the message of an error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, f"interrupted; {error}" if isinstance(error, Stopped) else "interrupted"
    if isinstance(error, InputError):
        return BAD_INPUT, str(error)
    if isinstance(error, CheckError):
        return UNMET, f"a check failed: {error}. This is a defect of packlight; please report it"
    if isinstance(error, OF_THE_MACHINE):
        return BAD_INPUT, machine_sentence(error)
    if hasattr(error, "format_message"):  # what typer calls a usage error
        return BAD_INPUT, usage_sentence(error)
    return DEFECT, (
        f"unexpected {type(error).__name__}: {' '.join(str(error).split())}. This is a defect of "
        "packlight: please report it with what the same command prints with --debug"
    )


def machine_sentence(error: BaseException) -> str:
    """What the machine refused: memory, or a file."""
    if isinstance(error, MemoryError):
        return (
            "this needs more memory than there is; try a smaller model, or fewer or smaller samples"
        )
    name, why = getattr(error, "filename", None), getattr(error, "strerror", None) or error
    return f"'{name}' cannot be used: {why}" if name else f"the system refused: {why}"


def usage_sentence(error: BaseException) -> str:
    """What is wrong with the command line, and where its help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "packlight"
    said = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    return f"{said.rstrip('.')}. See: {path} --help"


def exit_code(error: SystemExit | typer.Exit) -> int:
    """The code that an exit carries."""
    code = error.exit_code if isinstance(error, typer.Exit) else error.code
    return code if isinstance(code, int) else DONE if code is None else UNMET


def leave(code: int) -> int:
    """The exit code; an interrupted process that others still work in ends here and now.

    The interpreter would wait for them, or take away what compiled code still uses. What is in
    files of their own they leave behind.
    """
    if code != INTERRUPTED or threading.active_count() == 1:
        return code
    with suppress(OSError):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(code)


def hush() -> None:
    """Let what is left to print go nowhere, so that the interpreter does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
