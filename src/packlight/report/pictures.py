"""Inputs of samples as pixels or as first numbers."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Bytes = NDArray[np.uint8]

LEAST_PIXELS = 8
MOST_PIXELS = 112
"""Range of an image's side; smaller arrays are no image, larger images are subsampled."""

CHANNELS = (1, 3)
LEAST_WAVE = 64
"""Numbers in a row that are drawn as a waveform."""

WAVE_COLUMNS = 160
SHOWN = 12
"""Numbers that are printed if nothing can be drawn."""


def pixels(value: Array) -> Bytes | None:
    """Array as an image (h, w, 1 or 3) whose lowest number is black; None if it is no image."""
    if value.dtype.kind not in "fu":
        return None
    image = value
    if value.ndim == 2:  # noqa: PLR2004  rows and columns
        image = value[:, :, None]
    if image.ndim == 3 and image.shape[0] in CHANNELS and image.shape[2] not in CHANNELS:  # noqa: PLR2004
        image = np.moveaxis(image, 0, 2)
    if image.ndim != 3 or image.shape[2] not in CHANNELS:  # noqa: PLR2004
        return None
    if min(image.shape[:2]) < LEAST_PIXELS:
        return None
    step = -(-max(image.shape[:2]) // MOST_PIXELS)
    thinned = image[::step, ::step].astype(np.float64)
    low = float(thinned.min())
    high = float(thinned.max())
    if not np.isfinite([low, high]).all():
        return None
    return np.rint((thinned - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def png(image: Bytes) -> bytes:
    """Encode an image (h, w, 1 or 3) as PNG.

    Source: Portable Network Graphics (third edition), W3C, 2025; filter 0 for every line.
    """
    height, width, channels = image.shape
    kind = 0 if channels == 1 else 2
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def numbers(values: Array) -> str:
    """First numbers, or texts, of an input."""
    pattern = "{:.4g}" if values.dtype.kind == "f" else "{}"
    shown = ", ".join(pattern.format(value) for value in values[:SHOWN].tolist())
    if len(values) <= SHOWN:
        return shown
    return f"{shown}, ... ({len(values):,})"
