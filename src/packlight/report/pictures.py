"""Inputs of samples as images, waveforms, or numbers."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from packlight.presentation.markup import element

if TYPE_CHECKING:
    from packlight.runtime import Steps

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

HEIGHT = 48


def picture(steps: Steps) -> Markup:
    """Draw the first input of a sample as an image or waveform, else print its first numbers."""
    values = [np.asarray(value) for feeds in steps for value in list(feeds.values())[:1]]
    if not values:
        return Markup("")
    first = np.squeeze(values[0])
    image = pixels(first)
    if image is not None:
        return _image_element(image)
    joined = np.concatenate([value.reshape(-1) for value in values])
    is_row = joined.dtype.kind == "f" and len(joined) >= LEAST_WAVE and first.ndim <= 1
    if is_row and np.isfinite(joined).all():
        return wave(joined.astype(np.float64))
    return element("code", numbers(joined), class_="numbers")


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


def _image_element(image: Bytes) -> Markup:
    height, width = image.shape[:2]
    data = base64.b64encode(png(image)).decode()
    return element(
        "img", src=f"data:image/png;base64,{data}", width=width, height=height,
        alt=f"input, {width} by {height} pixels",
    )  # fmt: skip


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


def wave(values: NDArray[np.float64]) -> Markup:
    """Draw a row of numbers as strokes from the lowest to the highest number of equal parts."""
    parts = np.array_split(values, min(WAVE_COLUMNS, len(values)))
    top = float(np.abs(values).max()) or 1.0
    middle = HEIGHT / 2
    ends = [(middle * (1 - part.max() / top), middle * (1 - part.min() / top)) for part in parts]
    path = "".join(f"M{x} {low:.1f}V{high + 0.5:.1f}" for x, (low, high) in enumerate(ends))
    return element(
        "svg", element("path", d=path), viewBox=f"0 0 {len(parts)} {HEIGHT}", class_="wave",
        role="img", aria_label=f"input, {len(values):,} numbers in order",
    )  # fmt: skip


def numbers(values: Array) -> str:
    """First numbers, or texts, of an input."""
    pattern = "{:.4g}" if values.dtype.kind == "f" else "{}"
    shown = ", ".join(pattern.format(value) for value in values[:SHOWN].tolist())
    if len(values) <= SHOWN:
        return shown
    return f"{shown}, ... ({len(values):,})"
