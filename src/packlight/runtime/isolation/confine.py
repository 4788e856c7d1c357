"""Let a child process with limits do what reads a file that is not trusted.

ONNX and ONNX Runtime are C++ that reads what others wrote: a damaged file can crash them, keep
them busy for ever, or make them ask for all memory. Here that only costs a child.
"""

from __future__ import annotations

import glob
import json
import math
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packlight.errors import CheckError, ModelError
from packlight.runtime.isolation.child import Finished, run_child
from packlight.runtime.isolation.limits import cores

SECONDS = 10.0
"""Of processor time for a small model. The child does all that a command does before it runs the
model, and runs it once, so that the command has refused it, or got as far itself, in twice that."""

BYTES_PER_SECOND = 10 * 2**20
"""A large model gets a second more for each so many bytes."""

LONGEST = 300.0
WAITING = 1.5
"""Time that may pass for each second of processor time, on a machine that is not overloaded."""

FREE = "Check that the file arrived whole, and export it again"
OVERTIME = -int(getattr(signal, "SIGXCPU", 0))
KILLED = -int(getattr(signal, "SIGKILL", 0))

SWALLOWED = "'{name}' asks for far more memory than a file of its size needs, to {doing}. " + FREE
"""What is said of a file whose reading runs out of memory."""


def allowance(path: Path, seconds: float = SECONDS) -> float:
    """Seconds of processor time for a file.

    Args:
        path: the model's file.
        seconds: for a small model.
    """
    return min(seconds + stored_bytes(path) // BYTES_PER_SECOND, max(seconds, LONGEST))


def confined(
    module: str, path: Path, seconds: float, asked: object, doing: str
) -> Mapping[str, Any]:
    """What ``main`` of a module prints in a child: the JSON object in its last line.

    Args:
        module: called with the path, seconds of processor time and what is asked, as texts.
        path: the model's file.
        seconds: of processor time.
        asked: plain values; the child reads them as JSON from its input.
        doing: what the child does, for the message where it does not get to its end.

    Raises:
        ModelError: the child crashed, was killed, or took too long.
        CheckError: it failed otherwise.
    """
    arguments = [str(path), str(math.ceil(seconds))]
    ended = run_child(module, arguments, seconds * WAITING * overload(), json.dumps(asked))
    return said(path, ended, seconds, doing)


def said(path: Path, ended: Finished, seconds: float, doing: str) -> Mapping[str, Any]:
    """What a child that ended well said; raise what its end says about the model otherwise."""
    name = path.name
    if ended.late or ended.code == OVERTIME:
        raise ModelError(f"'{name}' did not {doing} within {seconds:g} s. {FREE}")
    if ended.code == KILLED:
        raise ModelError(f"'{name}' needs more memory than there is, just to {doing}")
    if ended.code < 0:
        raise ModelError(
            f"'{name}' makes ONNX Runtime crash ({signal_name(-ended.code)}): it is damaged, or "
            f"this ONNX Runtime has a defect. {FREE}"
        )
    if ended.code > 0 or not ended.output:
        raise CheckError(f"the process that reads '{name}' failed: {ended.errors}")
    found: Mapping[str, Any] = json.loads(ended.output.splitlines()[-1])
    return found


def overload() -> float:
    """How many processes want each core, at least 1; 1 where the system does not tell."""
    try:
        return max(1.0, os.getloadavg()[0] / cores())
    except (AttributeError, OSError):  # Windows
        return 1.0


def stored_bytes(path: Path) -> int:
    """Bytes of a model's file and of files named after it, where its external data may be."""
    beside = path.parent.glob(f"{glob.escape(path.name)}*")
    return sum(map(own_bytes, beside))


def own_bytes(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # no name that the system takes
        return 0


def signal_name(number: int) -> str:
    """Name of a signal, as ``SIGSEGV``."""
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")
