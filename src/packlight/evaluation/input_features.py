"""Statistics of a sample's inputs, to look for samples that lose accuracy together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from packlight.metrics import Rows
from packlight.metrics.fidelity import is_float

if TYPE_CHECKING:
    from packlight.runtime import Steps

PREFIX = "input_"
STATISTICS = ("length", "mean", "spread", "lowest", "highest", "roughness")
"""Count of numbers; their mean, standard deviation and extremes; and the root mean square of
steps between neighbors over the standard deviation, which is small for smooth inputs."""

NUMERIC = "iubf"


def statistics(steps: Steps) -> Rows:
    """Statistics of one sample, all of its calls and inputs together (6,).

    They stand for brightness and contrast of an image, level and peak of a sound, or the length of
    a text, whichever the inputs are. Texts count by their characters.
    """
    arrays = [np.asarray(array) for feeds in steps for array in feeds.values()]
    numeric = [array for array in arrays if array.dtype.kind in NUMERIC or is_float(array.dtype)]
    length = sum(array.size for array in numeric) or sum(map(_characters, arrays))
    if not sum(array.size for array in numeric):
        return np.array([length, 0, 0, 0, 0, 0], dtype=np.float64)
    flat = [array.reshape(-1).astype(np.float64, copy=False) for array in numeric]
    values = np.concatenate(flat)
    mean = float(values.mean())
    spread = float(np.sqrt(max(np.dot(values, values) / values.size - mean**2, 0.0)))
    roughness = 0.0
    if spread:
        jumps = np.diff(values)
        roughness = float(np.sqrt(np.dot(jumps, jumps) / max(jumps.size, 1))) / spread
    return np.array([length, mean, spread, values.min(), values.max(), roughness])


def _characters(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> int:
    return sum(len(str(text)) for text in array.reshape(-1).tolist())


def named_columns(table: Rows) -> dict[str, Rows]:
    """Statistics of all samples (n, 6) by name, those that vary and are finite."""
    columns = {PREFIX + name: table[:, index] for index, name in enumerate(STATISTICS)}
    return {
        name: values
        for name, values in columns.items()
        if np.isfinite(values).all() and np.ptp(values) > 0
    }
