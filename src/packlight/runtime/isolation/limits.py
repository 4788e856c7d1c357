"""Limits on memory and time of this process, and its use of memory."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Value for ``clear_refs`` that resets the peak of the resident set (proc(5))."""

PARENT_DEATH_SIGNAL = 1
"""Option of prctl(2)."""

KIB = 1024


def physical_memory() -> int:
    """Bytes of RAM of this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; a system without these names
        return 0


def address_space() -> int:
    """Bytes of address space that this process has taken; 0 where the system does not tell."""
    if not STATUS.exists():
        return 0
    return _status("VmSize")


def restrict(memory: int, seconds: int) -> None:
    """Limit address space and processor time of this process, and forbid core dumps.

    A limit that the system lacks is not set: the parent still limits the time.
    """
    if sys.platform == "win32":
        return
    for limit, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
    ):
        hard = resource.getrlimit(limit)[1]
        soft = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        try:
            resource.setrlimit(limit, (soft, hard))
        except (ValueError, OSError) as error:  # macOS does not limit address space
            print(f"limit {limit} is not set: {error}", file=sys.stderr)


def end_with_parent() -> None:
    """Let the system kill this process when its parent ends, even when that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, int(signal.SIGKILL))


def reset_peak() -> None:
    """Reset the peak of the resident set where Linux allows it.

    Where it does not, the peak so far is that of the imports, close to the resident set.
    """
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError as error:
        print(f"the peak of the resident set is not reset: {error}", file=sys.stderr)


def resident() -> int:
    """Bytes of the resident set now; its peak so far on systems other than Linux."""
    if STATUS.exists():
        return _status("VmRSS")
    return peak_resident()


def peak_resident() -> int:
    """Bytes of the largest resident set since the start or the last ``reset_peak``."""
    if STATUS.exists():
        return _status("VmHWM")
    if sys.platform == "win32":
        raise NotImplementedError("the resident set can be measured on Linux and macOS")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        return peak
    return peak * KIB


def _status(field: str) -> int:
    (line,) = [row for row in STATUS.read_text().splitlines() if row.startswith(f"{field}:")]
    return int(line.split()[1]) * KIB


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
