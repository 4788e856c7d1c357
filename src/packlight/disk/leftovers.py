"""Names of temporary files that tell who writes them, and removal of those whose writer is gone.

A name holds the host, the id and the start of a process: ids are used again, a start with the same
id is not. Whoever makes temporary files in a folder first removes what killed processes left there.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

NAME = re.compile(r"\.?packlight-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{16}(\.[A-Za-z0-9]{1,16})*")
FOREIGN_SECONDS = 24 * 3600.0
"""Age at which files of another host count as abandoned; its processes are unknown."""

PROCESSES = Path("/proc")
START_FIELD = 19
"""Index of the start among the fields of ``/proc/PID/stat`` after the name (proc(5))."""


def temporary_name(suffix: str = "") -> str:
    """A name that nobody can predict, and that tells which process made it."""
    pid = os.getpid()
    start = start_of(pid) or 0
    return f"packlight-{host()}-{pid}-{start}-{secrets.token_hex(8)}{suffix}"


@cache
def host() -> str:
    """Short digest of the space that process ids belong to: this host, or this container."""
    try:
        space = (PROCESSES / "self/ns/pid").readlink()
    except OSError:  # no Linux
        space = Path()
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def start_of(pid: int) -> int | None:
    """Clock ticks from the system's start to a process's; None if it is gone, or no Linux."""
    try:
        text = (PROCESSES / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[START_FIELD])


def sweep(folder: Path, now: float | None = None) -> None:
    """Remove leftovers of killed processes of this user from a folder.

    Args:
        folder: need not exist.
        now: seconds since the epoch.
    """
    moment = time.time() if now is None else now
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            owner = NAME.fullmatch(entry.name)
            if owner and _is_abandoned(Path(entry.path), owner, moment):
                remove(Path(entry.path))


def _is_abandoned(path: Path, owner: re.Match[str], now: float) -> bool:
    """Tell if the writer of a temporary path is gone."""
    try:
        status = path.lstat()
    except OSError:
        return False
    if os.name == "posix" and status.st_uid != os.geteuid():
        return False
    if owner[1] != host() or os.name != "posix":
        return now - status.st_mtime > FOREIGN_SECONDS
    return not _is_running(int(owner[2]), int(owner[3]))


def _is_running(pid: int, start: int) -> bool:
    """Tell if a process of this host still runs; without its start, by sending it signal 0."""
    if start:
        return start_of(pid) == start
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove(path: Path) -> None:
    """Delete a file or folder if it exists; a failed deletion is retried at the next start."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)
