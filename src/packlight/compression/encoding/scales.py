"""Storage of scales: in float32, or in 16 bits with one float32 factor.

Short scales are float16 shares of the largest one, which is stored as float32, so that their range
does not depend on that of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.functions import Body, widen_scale
from packlight.compression.encoding.storage import FLOAT_BYTES, Expansion, Parts
from packlight.records.configs import ScaleBits

Array = NDArray[np.generic]
Float = NDArray[np.float32]

_SHORT: Final[ScaleBits] = 16
_LEAST: Final = np.finfo(np.float16).smallest_subnormal


def scale_bytes(count: int, bits: ScaleBits) -> int:
    """Bytes of so many scales.

    >>> scale_bytes(10, 32), scale_bytes(10, 16)
    (40, 24)
    """
    if bits != _SHORT:
        return count * FLOAT_BYTES
    return count * 2 + FLOAT_BYTES


def decoded_scale(scale: Float, bits: ScaleBits) -> Float:
    """Scales with the rounding of their storage."""
    if bits != _SHORT:
        return scale
    half, widest = _to_float16(scale)
    return half.astype(np.float32) * widest


def scale_parts(scale: Float, bits: ScaleBits) -> Mapping[str, Array]:
    """The stored arrays, by the name of the part."""
    if bits != _SHORT:
        return {"scale": scale}
    half, widest = _to_float16(scale)
    return {"half": half, "widest": np.asarray(widest)}


def _to_float16(scale: Float) -> tuple[NDArray[np.float16], np.float32]:
    widest = np.float32(scale.max())
    return np.maximum(scale / widest, _LEAST).astype(np.float16), widest


def store_scale(
    expansion: Expansion, parts: Parts, bits: ScaleBits, shape: Sequence[int]
) -> dict[str, ir.Value]:
    """Add the stored values; returns them by the name of the part."""
    if bits != _SHORT:
        return {"scale": expansion.store_part(parts, "scale", ir.DataType.FLOAT, shape)}
    half = expansion.store_part(parts, "half", ir.DataType.FLOAT16, shape)
    return {"half": half, "widest": expansion.store_part(parts, "widest", ir.DataType.FLOAT, ())}


def read_scale(body: Body) -> ir.Value:
    """Scales as float32 in a function whose inputs are the stored values."""
    return body.inputs.get("scale") or widen_scale(body)
