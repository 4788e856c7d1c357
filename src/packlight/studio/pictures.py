"""Inputs of samples to look at: an image, a waveform, a text or first numbers."""

from __future__ import annotations

import base64

import numpy as np

from packlight.report.pictures import LEAST_WAVE, WAVE_COLUMNS, numbers, pixels, png
from packlight.runtime import Steps
from packlight.studio.pages import Picture


def picture_of(steps: Steps) -> Picture:
    """The first input of a sample, drawn as what it looks like."""
    values = [np.asarray(value) for feeds in steps for value in list(feeds.values())[:1]]
    if not values:
        return Picture("numbers", "", 0, 0, (), "no input")
    first = np.squeeze(values[0])
    image = pixels(first)
    if image is not None:
        height, width = image.shape[:2]
        source = f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"
        return Picture("image", source, width, height, (), f"{width} by {height} pixels")
    joined = np.concatenate([value.reshape(-1) for value in values])
    is_row = joined.dtype.kind == "f" and len(joined) >= LEAST_WAVE and first.ndim <= 1
    if is_row and np.isfinite(joined).all():
        parts = np.array_split(joined.astype(np.float64), min(WAVE_COLUMNS, len(joined)))
        top = float(np.abs(joined).max()) or 1.0
        ends = [end / top for part in parts for end in (float(part.min()), float(part.max()))]
        text = f"{len(joined):,} numbers in order"
        return Picture("wave", "", len(parts), 0, tuple(round(end, 3) for end in ends), text)
    return Picture("numbers", "", 0, 0, (), numbers(joined))
