"""Run one command from its arguments to its exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

from packlight.cli.app import command
from packlight.cli.exit_codes import DONE, report_error

DEBUG = "--debug"
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
        words = [argument for argument in arguments if argument != DEBUG]
        with command(words).make_context("packlight", words) as context:
            code = context.command.invoke(context)
        sys.stdout.flush()
    except BaseException as error:  # the last chance to turn it into a sentence
        return report_error(error, debug=debug, stopped=stop.came)
    return code if isinstance(code, int) else DONE


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
