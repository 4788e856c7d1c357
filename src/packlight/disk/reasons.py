"""Why the system does not write a file, and what helps, in words."""

from __future__ import annotations

import errno
from pathlib import Path

from packlight.errors import InputError

REASONS = {
    errno.ENOSPC: "the disk is full; free some space, or choose another disk",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another disk",
    errno.EFBIG: "the file would be larger than the limit on files; raise it (ulimit -f)",
    errno.EROFS: "it is on a file system that can only be read; choose another folder",
    errno.EACCES: "permission is denied; change the rights of its folder, or choose another",
    errno.EPERM: "it is not permitted; change the rights of its folder, or choose another",
    errno.EIO: "the disk reports an error; choose another disk",
    errno.ENOENT: "its folder does not exist; make it first",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another folder",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
    errno.ELOOP: "it is a link, which is not followed; remove it, or choose another name",
}
"""Reason and remedy by error number."""


def disk_reason(error: OSError) -> str:
    """The reason of a failed write, with a remedy where there is one."""
    reason = REASONS.get(error.errno or 0)
    return reason or error.strerror or str(error)


def is_refusal(error: OSError) -> bool:
    """Tell whether the disk or its rights are to blame."""
    return error.errno in REASONS


def unwritable(path: Path, error: OSError) -> InputError:
    """The error of a file that cannot be written."""
    return InputError(f"'{path}' cannot be written: {disk_reason(error)}")
