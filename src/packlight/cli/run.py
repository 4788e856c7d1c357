"""Run one command from its arguments to its exit code."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

from packlight.cli.app import command
from packlight.cli.exit_codes import DONE, report_error
from packlight.errors import InputError

DEBUG = "--debug"
LIBRARY = "--library"
DEBUG_VARIABLE = "PACKLIGHT_DEBUG"


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; never raises.

    Args:
        arguments: without the program's name; ``--debug`` may stand anywhere.
    """
    debug = DEBUG in arguments or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    stop = Stop()
    try:
        stop.listen()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a name may hold what the terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        words, paths = without_libraries([word for word in arguments if word != DEBUG])
        if paths:
            from packlight.runtime.custom_operators import use_libraries

            use_libraries(paths)
        with warnings.catch_warnings():
            if not (debug or sys.warnoptions):
                warnings.simplefilter("ignore")  # users read notes, not what libraries warn of
            with command(words).make_context("packlight", words) as context:
                code = context.command.invoke(context)
        sys.stdout.flush()
    except BaseException as error:  # the last chance to turn it into a sentence
        return report_error(error, debug=debug, stopped=stop.came)
    return code if isinstance(code, int) else DONE


def without_libraries(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--library PATH`` out of a command line, wherever it stands.

    Raises:
        InputError: the path is missing.

    >>> without_libraries(["profile", "--library", "ops.so", "m.onnx", "--library=more.so"])
    (['profile', 'm.onnx'], ['ops.so', 'more.so'])
    """
    rest = list[str]()
    paths = list[str]()
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.partition("=")
        if name != LIBRARY:
            rest.append(word)
            continue
        path = value if equals else next(remaining, "")
        if not path:
            raise InputError(f"{LIBRARY} takes the path of a library, as in {LIBRARY} ops.so")
        paths.append(path)
    return rest, paths


class Stop:
    """Handler of Ctrl-C and SIGTERM.

    Attributes:
        came: whether a signal came; compiled code may raise another error then.
    """

    def __init__(self) -> None:
        self.came = False

    def listen(self) -> None:
        """Install the handler; Ctrl-C stays ignored in background jobs."""
        signal.signal(signal.SIGTERM, self.interrupt)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self.interrupt)

    def interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        """Raise ``KeyboardInterrupt``."""
        del number, frame
        self.came = True
        raise KeyboardInterrupt
