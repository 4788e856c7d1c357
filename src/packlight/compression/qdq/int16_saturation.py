"""Integer weights whose neighbours never leave 16 bits in pairs, so that they are safe on any CPU.

x86 processors without VNNI add products of neighbouring weights in 16 bits. With codes of
activations up to 255, no sum leaves them where weights of one sign sum up to 128 at most in every
pair. Few pairs of 8-bit weights do more, so a little less of the range is cut off than by 7 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.runtime.kernel_sums import MOST_NEGATIVE, MOST_POSITIVE

Floats = NDArray[np.float32]
SPATIAL = 2
TRIED = 6
"""Scales tried for each output, from the one wanted to the one at which no pair is cut off."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """How a weight becomes rows (out, in) in which neighbours are added in pairs.

    Attributes:
        shape: of the weight.
        order: its axes, the one of the outputs first.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]

    def rows(self, weight: Floats) -> Floats:
        """(out, in) from an array of the weight's shape."""
        moved = weight.transpose(self.order)
        return moved.reshape(moved.shape[0], -1)

    def weight(self, rows: Floats) -> Floats:
        """An array of the weight's shape from (out, in)."""
        moved = tuple(self.shape[axis] for axis in self.order)
        return rows.reshape(moved).transpose(np.argsort(self.order))


def neighbours(node: ir.Node, shape: tuple[int, ...]) -> Neighbours | None:
    """Pairs of weights that are added in 16 bits; None for depthwise convolutions, which use 32."""
    if node.op_type == "Conv":
        groups = node.attributes.get_int("group", 1)
        if groups > 1 and shape[:SPATIAL] == (groups, 1):
            return None
        return Neighbours(shape, (0, *range(SPATIAL, len(shape)), 1))
    turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    return Neighbours(shape, (0, 1) if turned else (1, 0))


def in_pairs(rows: Floats) -> Floats:
    """Rows (out, in) as (out, pairs, 2); an odd input is paired with zero."""
    wide = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    return wide.reshape(len(rows), -1, 2)


def excess(codes: Floats) -> Floats:
    """Excess by which the weights of one sign in each pair (out, pairs, 2) go beyond what is safe.

    Positive above, negative below; they cannot be both.
    """
    above = np.maximum(codes, 0).sum(axis=-1) - MOST_POSITIVE
    below = np.minimum(codes, 0).sum(axis=-1) - MOST_NEGATIVE
    return np.asarray(np.maximum(above, 0) + np.minimum(below, 0), np.float32)


def held(rows: Floats) -> Floats:
    """The nearest codes (out, in), whole numbers, whose pairs are safe."""
    codes = in_pairs(rows)
    over = excess(codes)
    half = np.trunc(over / 2)
    safe = codes - np.stack([over - half, half], axis=-1)
    return np.asarray(safe.reshape(len(rows), -1)[:, : rows.shape[1]], np.float32)


def safe_scale(rows: Floats) -> Floats:
    """The least scale (out,) of each row at which rounding leaves every pair safe."""
    pairs = in_pairs(rows)
    above = np.maximum(pairs, 0).sum(axis=-1).max(axis=1, initial=0.0)
    below = -np.minimum(pairs, 0).sum(axis=-1).min(axis=1, initial=0.0)
    return np.asarray(np.maximum(above, below) / (MOST_POSITIVE - 1), np.float32)


def portable_scale(rows: Floats, matters: Floats, scale_asked: Floats, top: int) -> Floats:
    """The scale of each row at which rounding and holding the pairs costs least.

    Args:
        rows: weights (out, in).
        matters: how much a squared error matters, of the same shape.
        scale_asked: the best scale (out,) were there no pairs.
        top: largest code.

    Returns:
        (out,), from ``wanted`` to the one at which no pair is cut off.
    """
    widest = np.maximum(safe_scale(rows), scale_asked)
    best = scale_asked.copy()
    least = np.full(len(rows), np.inf)
    for share in np.linspace(0, 1, TRIED):
        scale = (scale_asked * (widest / scale_asked) ** share).astype(np.float32)
        codes = held(np.clip(np.rint(rows / scale[:, None]), -top, top))
        cost = (matters * (codes * scale[:, None] - rows) ** 2).sum(axis=1)
        better = cost < least
        best[better], least[better] = scale[better], cost[better]
    return best
