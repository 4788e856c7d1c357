"""Find out in a child process whether a model can be opened at all."""

from __future__ import annotations

from pathlib import Path

from packlight.errors import ModelError
from packlight.model.check import check_file
from packlight.runtime.isolation.confine import SECONDS, SWALLOWED, allowance, confined

Identity = tuple[str, int, int, int]

OPENS = "open and run once"

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
    child = "packlight.runtime.isolation.vetting_child"
    said = confined(child, path, allowance(path, seconds), runs, OPENS)
    if said["memory"]:
        raise ModelError(SWALLOWED.format(name=path.name, doing=OPENS))
    if said["error"]:
        raise ModelError(str(said["error"]))
    vetted[known] = bool(said["ran"])


def unchanged(path: Path) -> bool:
    """Whether a file is still the one that was vetted."""
    return identity(path) in vetted


def identity(path: Path) -> Identity:
    """What changes when a file does."""
    stated = path.stat()
    return (str(path.resolve()), stated.st_size, stated.st_mtime_ns, stated.st_ino)
