"""Find out in a child process whether a model can be opened at all.

ONNX and ONNX Runtime are C++ that reads what others wrote: a damaged file can crash them, keep
them busy for ever, or make them ask for all memory. Here that only costs a child.
"""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

from packlight.errors import CheckError, ModelError
from packlight.runtime.child import Finished, run_child

Identity = tuple[str, int, int, int]

FREE = "Check that the file arrived whole, and export it again"
OVERTIME = -int(getattr(signal, "SIGXCPU", 0))
KILLED = -int(getattr(signal, "SIGKILL", 0))

vetted: set[Identity] = set()
"""Files that were found good in this process and have not changed since."""


def vet(path: Path, seconds: float = 15.0) -> None:
    """Open and run what is not yet trusted, in a child with limits on memory and time.

    The same file is vetted once in a process. What packlight made itself needs no vetting.

    Args:
        path: the model's file.
        seconds: after which the child is killed.

    Raises:
        ModelError: the file is missing, damaged or hostile; what is wrong is said in a sentence.
    """
    known = identity(path)
    if known in vetted:
        return
    arguments = [str(path), str(math.ceil(seconds))]
    check(path, run_child("packlight.runtime.vetting_child", arguments, seconds), seconds)
    if known:
        vetted.add(known)


def identity(path: Path) -> Identity | None:
    """What changes when a file does; None where there is none."""
    if not path.is_file():
        return None
    stated = path.stat()
    return (str(path.resolve()), stated.st_size, stated.st_mtime_ns, stated.st_ino)


def check(path: Path, ended: Finished, seconds: float) -> None:
    """Raise what the child's end says about the model."""
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


def signal_name(number: int) -> str:
    """Name of a signal, as ``SIGSEGV``."""
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")
