"""Bytes of a download."""

from __future__ import annotations

import zlib
from pathlib import Path

CHUNK = 2**20


def deflated(path: Path) -> int:
    """Bytes of a file after deflate, as zip and app stores compress it."""
    packer, size = zlib.compressobj(6), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())
