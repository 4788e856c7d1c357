"""Inputs of samples as people can look at them: images, sound, or the numbers themselves."""

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

LEAST, MOST = 8, 112
"""Pixels of a side: fewer are no image, more are left out evenly."""

COLOURS = (1, 3)
SOUND, POINTS = 64, 160
"""Numbers in a row from which on they are drawn as sound, and columns of the drawing."""

SHOWN = 12
"""Numbers that stand for the rest where nothing can be drawn."""

HEIGHT = 48


def picture(steps: Steps) -> Markup:
    """The first input of a sample, drawn if it is an image or sound, else told."""
    values = [np.asarray(value) for feeds in steps for value in list(feeds.values())[:1]]
    if not values:
        return Markup("")
    first = np.squeeze(values[0])
    image = pixels(first)
    if image is not None:
        return drawn(image)
    whole = np.concatenate([value.reshape(-1) for value in values])
    if whole.dtype.kind == "f" and len(whole) >= SOUND and first.ndim <= 1:
        return wave(whole.astype(np.float64)) if np.isfinite(whole).all() else told(whole)
    return told(whole)


def told(values: Array) -> Markup:
    """The first numbers of an input."""
    return element("code", numbers(values), class_="numbers")


def pixels(value: Array) -> Bytes | None:
    """An image (h, w, 1 or 3), its lowest number black; None where there is none."""
    if value.dtype.kind not in "fu":
        return None
    laid = value[:, :, None] if value.ndim == 2 else value  # noqa: PLR2004  rows and columns
    if laid.ndim == 3 and laid.shape[0] in COLOURS and laid.shape[2] not in COLOURS:  # noqa: PLR2004
        laid = np.moveaxis(laid, 0, 2)
    if laid.ndim != 3 or laid.shape[2] not in COLOURS or min(laid.shape[:2]) < LEAST:  # noqa: PLR2004
        return None
    step = -(-max(laid.shape[:2]) // MOST)
    few = laid[::step, ::step].astype(np.float64)
    low, high = float(few.min()), float(few.max())
    if not np.isfinite([low, high]).all():
        return None
    return np.rint((few - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def drawn(image: Bytes) -> Markup:
    """An image that is part of the page."""
    height, width = image.shape[:2]
    data = base64.b64encode(png(image)).decode()
    return element(
        "img", src=f"data:image/png;base64,{data}", width=width, height=height,
        alt=f"input, {width} by {height} pixels",
    )  # fmt: skip


def png(image: Bytes) -> bytes:
    """An image (h, w, 1 or 3) as PNG.

    Source: Portable Network Graphics (third edition), W3C, 2025; filter 0 for every line.
    """
    height, width, colours = image.shape
    kind = 0 if colours == 1 else 2
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def wave(values: NDArray[np.float64]) -> Markup:
    """Lowest and highest numbers of even parts of a sound or another row, as strokes."""
    parts = np.array_split(values, min(POINTS, len(values)))
    top = float(np.abs(values).max()) or 1.0
    middle = HEIGHT / 2
    ends = [(middle * (1 - part.max() / top), middle * (1 - part.min() / top)) for part in parts]
    path = "".join(f"M{x} {low:.1f}V{high + 0.5:.1f}" for x, (low, high) in enumerate(ends))
    return element(
        "svg", element("path", d=path), viewBox=f"0 0 {len(parts)} {HEIGHT}", class_="wave",
        role="img", aria_label=f"input, {len(values):,} numbers in order",
    )  # fmt: skip


def numbers(values: Array) -> str:
    """The first numbers, or texts, of an input."""
    shown = ", ".join(f"{value:.4g}" if values.dtype.kind == "f" else str(value)
                      for value in values[:SHOWN].tolist())  # fmt: skip
    return shown if len(values) <= SHOWN else f"{shown}, ... ({len(values):,})"
