"""Find out in a child process whether a model can be opened at all."""

from __future__ import annotations

from pathlib import Path

from packlight.errors import ModelError
from packlight.model.check import check_file
from packlight.runtime.isolation.confine import SECONDS, SWALLOWED, processor_seconds, run_confined

Identity = tuple[str, int, int, int]

OPENS = "open and run once"

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


def is_vetted(path: Path) -> bool:
    """Test whether a file was vetted and has not changed since."""
    return identity(path) in vetted


def identity(path: Path) -> Identity:
    """Path, size, time and inode, of which one changes when the file does."""
    status = path.stat()
    return (str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)
