"""Find out in a child process whether a model can be opened at all.

ONNX and ONNX Runtime are C++ that reads what others wrote: a damaged file can crash them, keep
them busy for ever, or make them ask for all memory. Here that only costs a child.
"""

from __future__ import annotations

import glob
import json
import math
import os
import signal
from pathlib import Path

from packlight.errors import CheckError, ModelError
from packlight.model.check import check_file
from packlight.runtime.child import Finished, run_child
from packlight.runtime.limits import cores

Identity = tuple[str, int, int, int]

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

vetted: dict[Identity, bool] = {}
"""Files that were found good in this process and have not changed since, and whether they ran."""


def vet(path: Path, seconds: float = SECONDS, *, runs: bool = True) -> None:
    """Open and run what is not yet trusted, in a child with limits on memory and time.

    The same file is vetted once in a process. What packlight made itself needs no vetting.

    Args:
        path: the model's file.
        seconds: of processor time for a small model; a large one gets more.
        runs: whether it is run afterwards. Where it is not, a large model is read and checked in
            the child and not run there either: that would take memory for all its weights.

    Raises:
        ModelError: the file is missing, damaged or hostile; what is wrong is said in a sentence.
    """
    check_file(path)
    known = identity(path)
    if known in vetted and (vetted[known] or not runs):
        return
    allowed = min(seconds + stored_bytes(path) // BYTES_PER_SECOND, max(seconds, LONGEST))
    arguments = [str(path), str(math.ceil(allowed)), json.dumps(runs)]
    ended = run_child("packlight.runtime.vetting_child", arguments, allowed * WAITING * overload())
    vetted[known] = check(path, ended, allowed)


def overload() -> float:
    """How many processes want each core, at least 1; 1 where the system does not tell."""
    try:
        return max(1.0, os.getloadavg()[0] / cores())
    except (AttributeError, OSError):  # Windows
        return 1.0


def unchanged(path: Path) -> bool:
    """Whether a file is still the one that was vetted."""
    return identity(path) in vetted


def identity(path: Path) -> Identity:
    """What changes when a file does."""
    stated = path.stat()
    return (str(path.resolve()), stated.st_size, stated.st_mtime_ns, stated.st_ino)


def stored_bytes(path: Path) -> int:
    """Bytes of a model's file and of files named after it, where its external data may be."""
    beside = path.parent.glob(f"{glob.escape(path.name)}*")
    return sum(each.stat().st_size for each in beside if each.is_file())


def check(path: Path, ended: Finished, seconds: float) -> bool:
    """Raise what the child's end says about the model; whether the child ran it."""
    name = path.name
    if ended.late or ended.code == OVERTIME:
        raise ModelError(f"'{name}' did not open and run once within {seconds:g} s. {FREE}")
    if ended.code == KILLED:
        raise ModelError(f"'{name}' needs more memory than there is, just to open and run once")
    if ended.code < 0:
        raise ModelError(
            f"'{name}' makes ONNX Runtime crash ({signal_name(-ended.code)}): it is damaged, or "
            f"this ONNX Runtime has a defect. {FREE}"
        )
    if ended.code > 0 or not ended.output:
        raise CheckError(f"the process that vets '{name}' failed: {ended.errors}")
    said = json.loads(ended.output.splitlines()[-1])
    if said["memory"]:
        raise ModelError(
            f"'{name}' asks for far more memory than a file of its size needs, to open and run "
            f"once. {FREE}"
        )
    if said["error"]:
        raise ModelError(str(said["error"]))
    return bool(said["ran"])


def signal_name(number: int) -> str:
    """Name of a signal, as ``SIGSEGV``."""
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")
