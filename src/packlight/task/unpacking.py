"""Limits on what a compressed file unpacks to."""

from __future__ import annotations

from packlight.errors import TaskError
from packlight.runtime.isolation.limits import physical_memory

GIB = 2**30
LARGE = GIB // 2
MOST_UNPACKED = 20
"""Bytes of large arrays for each byte of a compressed file; a bomb has a thousand."""


def check_unpacked(size: int, packed: int, file: str) -> None:
    """Refuse arrays larger than half of the memory, or far larger than the file that holds them.

    Args:
        size: bytes of the arrays.
        packed: bytes of the file.
        file: its name.

    Raises:
        TaskError: with both sizes.
    """
    if size > LARGE and size > MOST_UNPACKED * packed:
        raise TaskError(
            f"the arrays of '{file}' take {size / GIB:.1f} GiB, {size // max(packed, 1):,} times "
            f"the bytes of the file; at most {MOST_UNPACKED} times is unpacked above "
            f"{LARGE / GIB:.1f} GiB. Write them without compression, by numpy.savez"
        )
    memory = physical_memory()
    if memory and size > memory // 2:
        raise TaskError(
            f"the arrays of '{file}' take {size / GIB:.1f} GiB; this machine has "
            f"{memory / GIB:.1f} GiB of memory. Give fewer samples, or write the task in Python, "
            "which can read one sample at a time"
        )
