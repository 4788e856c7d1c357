"""What this process may use of memory and time, and what it has used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What Linux takes in ``clear_refs`` to start the peak of the resident set anew (proc(5))."""

KIB = 1024


def physical_memory() -> int:
    """Bytes of RAM of this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; a system without these names
        return 0


def address_space() -> int:
    """Bytes of address space that this process has taken; 0 where the system does not tell."""
    return status("VmSize") if STATUS.exists() else 0


def restrict(memory: int, seconds: int) -> None:
    """Limit address space and processor time of this process, and forbid core dumps.

    Where the system has no such limit, none is set: the parent still limits the time.
    """
    if sys.platform == "win32":
        return
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
    ):
        hard = resource.getrlimit(limit)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(limit, (bound, hard))
        except (ValueError, OSError) as error:  # macOS does not limit address space
            print(f"limit {limit} is not set: {error}", file=sys.stderr)


def reset_peak() -> None:
    """Let the peak of the resident set start from now where Linux allows it.

    Where it does not, the peak so far is that of the imports, which is close to what stays.
    """
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError as error:
        print(f"the peak of the resident set is not reset: {error}", file=sys.stderr)


def resident() -> int:
    """Bytes of the resident set now; elsewhere than on Linux its peak so far."""
    return status("VmRSS") if STATUS.exists() else peak_resident()


def peak_resident() -> int:
    """Bytes of the largest resident set since the start or the last ``reset_peak``."""
    if STATUS.exists():
        return status("VmHWM")
    if sys.platform == "win32":
        raise NotImplementedError("the resident set can be measured on Linux and macOS")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB


def status(field: str) -> int:
    """Bytes that Linux states for this process."""
    (line,) = [row for row in STATUS.read_text().splitlines() if row.startswith(f"{field}:")]
    return int(line.split()[1]) * KIB


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
