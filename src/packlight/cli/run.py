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
from packlight.cli.ending import DONE, ended

DEBUG = "--debug"
DEBUG_VARIABLE = "PACKLIGHT_DEBUG"


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command; never raises.

    Args:
        arguments: those after the program's name. ``--debug`` may stand anywhere among them.
    """
    debug = DEBUG in arguments or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    try:
        signal.signal(signal.SIGTERM, interrupt)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a name may hold what the terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        rest = [argument for argument in arguments if argument != DEBUG]
        with command().make_context("packlight", rest) as context:
            code = context.command.invoke(context)
        sys.stdout.flush()
    except BaseException as error:  # the last place that can turn it into a sentence
        return ended(error, debug=debug)
    return code if isinstance(code, int) else DONE


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Stop as Ctrl-C does."""
    del number, frame
    raise KeyboardInterrupt
