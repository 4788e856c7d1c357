"""Download size."""

from __future__ import annotations

import zlib
from pathlib import Path

CHUNK = 2**20


def deflated_size(path: Path) -> int:
    """Bytes of a file after deflate, as zip and app stores compress it."""
    compressor = zlib.compressobj(6)
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(compressor.compress(chunk))
    return size + len(compressor.flush())
