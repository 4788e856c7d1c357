"""Vet a file that is not trusted, and run code on it, in a child process with limits.

A damaged file can crash the C++ of ONNX and ONNX Runtime, keep it busy for ever, or make it ask
for all memory. Here that only costs a child.
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
"""Processor time for a small model. The child does what a command does before it runs the model,
and runs it once, so the command refuses the model, or gets as far, in at most twice that."""

BYTES_PER_SECOND = 10 * 2**20
"""Bytes of a large model for each further second."""

MOST_SECONDS = 300.0
WALL_PER_CPU_SECOND = 10.0
"""Wall time allowed for each second of processor time: other programs may keep the cores busy."""

REMEDY = "Check that the file arrived whole, and export it again"
OVERTIME = -int(getattr(signal, "SIGXCPU", 0))
KILLED = -int(getattr(signal, "SIGKILL", 0))

SWALLOWED = "'{name}' asks for far more memory than a file of its size needs, to {doing}. " + REMEDY
"""Message about a file whose reading runs out of memory."""

OPENS = "open and run once"
Identity = tuple[str, int, int, int]

vetted: dict[Identity, bool] = {}
"""Files that passed in this process, and whether they ran."""


def vet(path: Path, seconds: float = SECONDS, *, runs: bool = True) -> None:
    """Open and run a file that is not yet trusted, in a child with limits on memory and time.

    A file is vetted once in a process. Files that packlight wrote need no vetting.

    Args:
        path: the model's file.
        seconds: of processor time for a small model; a large one gets more.
        runs: True if the caller runs the model. Otherwise the child reads and checks a large model
            without running it, which would take memory for all its weights.

    Raises:
        ModelError: the file is missing, damaged or hostile; the message says which.
    """
    from packlight.model.check import check_file  # noqa: PLC0415  loads ONNX

    check_file(path)
    file_identity = identity(path)
    if file_identity in vetted and (vetted[file_identity] or not runs):
        return
    child = "packlight.runtime.isolation.vetting_child"
    answer = run_confined(child, path, processor_seconds(path, seconds), runs, OPENS)
    if answer["memory"]:
        raise ModelError(SWALLOWED.format(name=path.name, doing=OPENS))
    if answer["error"]:
        raise ModelError(str(answer["error"]))
    vetted[file_identity] = bool(answer["ran"])


def trust(path: Path) -> None:
    """Take a file that this process wrote as vetted."""
    vetted[identity(path)] = True


def is_vetted(path: Path) -> bool:
    """Test whether a file was vetted and has not changed since."""
    return identity(path) in vetted


def identity(path: Path) -> Identity:
    """Path, size, time and inode, of which one changes when the file does."""
    status = path.stat()
    return (str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)


def processor_seconds(path: Path, seconds: float = SECONDS) -> float:
    """Seconds of processor time for a file.

    Args:
        path: the model's file.
        seconds: for a small model.
    """
    return min(seconds + stored_bytes(path) // BYTES_PER_SECOND, max(seconds, MOST_SECONDS))


def run_confined(
    module: str, path: Path, seconds: float, request: object, doing: str
) -> Mapping[str, Any]:
    """Run ``main`` of a module in a child and return the JSON object in its last line of output.

    Args:
        module: called with the path and seconds of processor time, as texts.
        path: the model's file.
        seconds: of processor time.
        request: plain values; the child reads them as JSON from its input.
        doing: the child's job, for the message if it fails.

    Raises:
        ModelError: the child crashed, was killed, or computed or waited too long.
        CheckError: it failed otherwise.
    """
    arguments = [str(path), str(math.ceil(seconds))]
    ended = run_child(
        module,
        arguments,
        seconds * WALL_PER_CPU_SECOND * _processes_per_core(),
        json.dumps(request),
    )
    return child_answer(path, ended, seconds, doing)


def child_answer(path: Path, ended: Finished, seconds: float, doing: str) -> Mapping[str, Any]:
    """The answer of a child that ended well; otherwise raise the error that its end means."""
    name = path.name
    if ended.code == OVERTIME:
        raise ModelError(f"'{name}' did not {doing} within {seconds:g} s. {REMEDY}")
    if ended.late:
        raise ModelError(
            f"'{name}' did not {doing} in {WALL_PER_CPU_SECOND:g} times the {seconds:g} s that it "
            "may compute: this machine is busy, or the model waits for something. Try again"
        )
    if ended.code == KILLED:
        raise ModelError(f"'{name}' needs more memory than there is, just to {doing}")
    if ended.code < 0:
        raise ModelError(
            f"'{name}' makes ONNX Runtime crash ({_signal_name(-ended.code)}): it is damaged, or "
            f"this ONNX Runtime has a defect. {REMEDY}"
        )
    if ended.code > 0 or not ended.output:
        raise CheckError(f"the process that reads '{name}' failed: {ended.errors}")
    answer: Mapping[str, Any] = json.loads(ended.output.splitlines()[-1])
    return answer


def _processes_per_core() -> float:
    try:
        return max(1.0, os.getloadavg()[0] / cores())
    except (AttributeError, OSError):  # Windows
        return 1.0


def stored_bytes(path: Path) -> int:
    """Bytes of a model's file and of files named after it, where its external data may be."""
    return sum(map(file_bytes, path.parent.glob(f"{glob.escape(path.name)}*")))


def file_bytes(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        if path.is_file():
            return path.stat().st_size
    except OSError:  # a name that the system does not take
        return 0
    return 0


def _signal_name(number: int) -> str:
    return next((entry.name for entry in signal.Signals if entry == number), f"signal {number}")
