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
from packlight.cli.exit_codes import DONE, ended

DEBUG = "--debug"
DEBUG_VARIABLE = "PACKLIGHT_DEBUG"


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command; never raises.

    Args:
        arguments: those after the program's name. ``--debug`` may stand anywhere among them.
    """
    debug = DEBUG in arguments or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    stop = Stop()
    try:
        stop.listen()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a name may hold what the terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        rest = [argument for argument in arguments if argument != DEBUG]
        with command().make_context("packlight", rest) as context:
            code = context.command.invoke(context)
        sys.stdout.flush()
    except BaseException as error:  # the last place that can turn it into a sentence
        return ended(error, debug=debug, stopped=stop.came)
    return code if isinstance(code, int) else DONE


class Stop:
    """What Ctrl-C and SIGTERM do: they interrupt.

    Attributes:
        came: whether one did; compiled code may raise something else then.
    """

    def __init__(self) -> None:
        self.came = False

    def listen(self) -> None:
        """Take signals from now on; Ctrl-C where it is not ignored, as it is in the background."""
        signal.signal(signal.SIGTERM, self.interrupt)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self.interrupt)

    def interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        """Stop what runs."""
        del number, frame
        self.came = True
        raise KeyboardInterrupt
