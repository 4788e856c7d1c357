"""Exit codes, and the message on stderr of a command that fails.

0    done
1    done, but a budget is missed or undecided, or an internal check fails
2    bad input
70   a bug in packlight (EX_SOFTWARE of sysexits.h)
130  interrupted, by Ctrl-C or SIGTERM
141  the reader of the output is gone, as after ``| head``
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

from packlight.disk import disk_reason
from packlight.errors import CheckError, InputError
from packlight.presentation.printable import printable

DONE = 0
UNMET = 1
BAD_INPUT = 2
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
MAX_MESSAGE = 480
"""Characters of a message; a longer one is cut in the middle."""

RESUME = "run the same command again to resume"
MACHINE_ERRORS = (OSError, MemoryError)


class Stopped(KeyboardInterrupt):
    """Interrupted; the text says how to resume."""


@contextmanager
def resumable(project: Path) -> Iterator[None]:
    """Say how to resume an interrupted command."""
    try:
        yield
    except BaseException as error:
        if interruption(error) is None or not project.is_dir():
            raise
        raise Stopped(f"results are saved in '{project}'; {RESUME}") from error


def judged(*, passed: bool) -> int:
    """The exit code of a command that judges."""
    if passed:
        return DONE
    return UNMET


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """The interruption that caused an error, which compiled code turns into errors of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause


def report_error(error: BaseException, *, debug: bool, stopped: bool = False) -> int:
    """Print the message of an error on stderr; return the exit code.

    Args:
        error: raised by a command.
        debug: whether to print its traceback.
        stopped: whether a signal stopped the command before.
    """
    if stopped or interruption(error) is not None:
        error = interruption(error) or KeyboardInterrupt()
    if isinstance(error, SystemExit | typer.Exit):
        return exit_code(error)
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return BROKEN_PIPE
    code, message = error_message(error)
    if debug:
        print_traceback(error)
    print(f"packlight: {one_line(message)}", file=sys.stderr)
    return code


def print_traceback(error: BaseException) -> None:
    """Print a traceback; further lines of a message are indented, so that none looks like ours."""
    for entry in traceback.format_exception(error):
        for number, line in enumerate(entry.splitlines()):
            indented = number == 0 or line.startswith("  ")
            print(printable(line if indented else f"  {line}"), file=sys.stderr)


def one_line(message: str) -> str:
    """A message in one printable line of limited length.

    Names in it come from files of strangers: they may be long and hold control codes.

    >>> one_line("no operator 'a\\x1b[2J'")
    "no operator 'a\\\\x1b[2J'"
    """
    plain = printable(message)
    if len(plain) <= MAX_MESSAGE:
        return plain
    return f"{plain[: MAX_MESSAGE // 2]} ... {plain[-MAX_MESSAGE // 3 :]}"


def error_message(error: BaseException) -> tuple[int, str]:
    """Exit code and message of an error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "; ".join(["interrupted", *map(str, error.args)])
    if isinstance(error, InputError):
        return BAD_INPUT, str(error)
    if isinstance(error, CheckError):
        return (
            UNMET,
            f"internal check failed: {error}. This is a bug in packlight: please report it",
        )
    if isinstance(error, MACHINE_ERRORS):
        return BAD_INPUT, machine_sentence(error)
    if hasattr(error, "format_message"):  # a usage error of typer
        return BAD_INPUT, usage_sentence(error)
    return BUG, (
        f"unexpected {type(error).__name__}: {' '.join(str(error).split())}. This is a bug in "
        "packlight: please report it with the output of the same command with --debug"
    )


def machine_sentence(error: BaseException) -> str:
    """Sentence about memory or a file that is not available."""
    if isinstance(error, MemoryError):
        return "not enough memory; try a smaller model, or fewer or smaller samples"
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or error
    if name and isinstance(error, OSError):
        return f"'{name}' cannot be used: {disk_reason(error)}"
    return f"the system refused: {reason}"


def usage_sentence(error: BaseException) -> str:
    """Sentence about a wrong command line, with the command for help."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "packlight"
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    return f"{message.rstrip('.')}. See: {path} --help"


def exit_code(error: SystemExit | typer.Exit) -> int:
    """The code of an exit; a text instead of a code means failure."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if error.code is None:
        return DONE
    if isinstance(error.code, int):
        return error.code
    return UNMET


def leave(code: int) -> int:
    """Return the exit code, or end an interrupted process at once if threads still run.

    The interpreter would wait for them, or free memory that compiled code still uses.
    """
    if code != INTERRUPTED or threading.active_count() == 1:
        return code
    with suppress(OSError):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(code)


def _silence_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
