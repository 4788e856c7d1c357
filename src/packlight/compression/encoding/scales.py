"""Scales as they are stored: in float32, or in 16 bits beside the largest of all.

Short scales are float16 shares of the largest one, which is stored as float32, so that their range
does not depend on that of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.functions import Body, widened
from packlight.compression.encoding.storage import FLOAT_BYTES, Expansion, Parts
from packlight.records.configs import ScaleBits

Array = NDArray[np.generic]
Float = NDArray[np.float32]

SHORT: Final[ScaleBits] = 16
LEAST: Final = np.finfo(np.float16).smallest_subnormal


def scale_bytes(count: int, bits: ScaleBits) -> int:
    """Bytes that so many scales take.

    >>> scale_bytes(10, 32), scale_bytes(10, 16)
    (40, 24)
    """
    return count * bits // 8 + (FLOAT_BYTES if bits == SHORT else 0)


def as_stored(scale: Float, bits: ScaleBits) -> Float:
    """What scales are once they are stored and read."""
    if bits != SHORT:
        return scale
    half, widest = shortened(scale)
    return half.astype(np.float32) * widest


def scale_parts(scale: Float, bits: ScaleBits) -> Mapping[str, Array]:
    """The arrays that are stored."""
    if bits != SHORT:
        return {"scale": scale}
    half, widest = shortened(scale)
    return {"half": half, "widest": np.asarray(widest)}


def shortened(scale: Float) -> tuple[NDArray[np.float16], np.float32]:
    """A scale as float16 numbers and one float32 that they are multiplied with."""
    widest = np.float32(scale.max())
    return np.maximum(scale / widest, LEAST).astype(np.float16), widest


def store_scale(
    place: Expansion, parts: Parts, bits: ScaleBits, shape: Sequence[int]
) -> dict[str, ir.Value]:
    """Add the stored values, by the names of their parts."""
    if bits != SHORT:
        return {"scale": place.store_part(parts, "scale", ir.DataType.FLOAT, shape)}
    half = place.store_part(parts, "half", ir.DataType.FLOAT16, shape)
    return {"half": half, "widest": place.store_part(parts, "widest", ir.DataType.FLOAT, ())}


def scale_of(body: Body) -> ir.Value:
    """In a function that is given the stored values: the scales as float32."""
    return body.inputs.get("scale") or widened(body)
