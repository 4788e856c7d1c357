"""Uniform grids fitted to one weight: scale, zero point and rounding to nearest."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from packlight.compression.grids.grouping import (
    Float,
    Grouping,
    minmax_range,
    minmax_scale,
    top_code,
)
from packlight.compression.grids.kmeans import CHUNK_SIZE
from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.sites.weight_matrix import Layout
from packlight.compression.threads import load_kernels
from packlight.records.configs import WeightRange

Codes = NDArray[np.float32]

_ZERO_REACH = {2: 3, 3: 7, 4: 4}
"""Distance from the zero of the widest range up to which zeros are tried; 2 for wider codes."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Points (code - zero) * scale for each group of weights.

    Attributes:
        grouping: weights that share a scale.
        bits: width of a code.
        symmetric: codes are signed and zero is 0; else they begin at 0.
        scale: of shape ``grouping.scale``, each > 0.
        zero: of the same shape, the code of 0.0.
    """

    grouping: Grouping
    bits: int
    symmetric: bool
    scale: Float
    zero: Float

    @property
    def code_range(self) -> tuple[int, int]:
        """Lowest and highest code."""
        if not self.symmetric:
            return 0, (1 << self.bits) - 1
        top = top_code(self.bits)
        return -top, top

    def nearest(self, weight: Float) -> Codes:
        """The code of the nearest point, at most half a step away within the range of the grid."""
        points = self.grouping.split(weight) / self.scale
        np.rint(points, out=points)
        points += self.zero
        np.clip(points, *self.code_range, out=points)
        return np.asarray(self.grouping.join(points).reshape(weight.shape), np.float32)

    def values(self, codes: Codes) -> Float:
        """Values of codes, computed as in the model file."""
        viewed = (self.grouping.split(codes) - self.zero) * self.scale
        return np.asarray(self.grouping.join(viewed).reshape(codes.shape), np.float32)

    def lattice(self, form: Layout) -> Lattice:
        """The points, for the rows of the weight's matrices."""
        scale, block = self._block_values(self.scale, form)
        zero, _ = self._block_values(self.zero, form)
        tables = np.zeros((1, 0))
        table_of = np.zeros(scale.shape[:2], np.int64)
        return Lattice(scale, zero, block, *self.code_range, tables, table_of)

    def _block_values(self, part: Float, form: Layout) -> tuple[NDArray[np.float64], int]:
        """Scale or zero of every block of columns of the matrices, and columns of a block."""
        full = self.grouping.join(np.broadcast_to(part, self.grouping.view)).reshape(form.shape)
        rows = form.matrices(full)
        block = self.grouping.block or rows.shape[2]
        return np.ascontiguousarray(rows[:, :, ::block], np.float64), block


def fit_grid(
    weight: Float,
    importance: Float,
    grouping: Grouping,
    bits: int,
    *,
    symmetric: bool,
    search: WeightRange,
) -> Uniform:
    """The grid of a weight.

    Args:
        weight: of shape ``grouping.shape`` when reshaped.
        importance: weight of a squared error, at least 0, of the same shape.
        grouping: weights that share a scale.
        bits: width of a code, 2 to 8.
        symmetric: zero is in the middle of the codes.
        search: ``minmax`` just reaches the largest weights; ``mse`` has the least squared error of
            all scales at which the largest weight takes the largest code; ``moments`` has the
            least squared error weighted by importance.
    """
    scale, zero = (minmax_scale if symmetric else minmax_range)(weight, grouping, bits)
    if search != "minmax":
        rows = grouping.rows(weight)
        row_importance = np.broadcast_to(np.float32(1), rows.shape)
        if search == "moments":
            row_importance = grouping.rows(importance)
        best_scale, best_zero = _search_scales(rows, row_importance, bits, symmetric)
        usable = (best_scale > np.finfo(np.float32).tiny).reshape(grouping.scale)
        scale = np.where(usable, best_scale.reshape(grouping.scale), scale).astype(np.float32)
        zero = np.where(usable, best_zero.reshape(grouping.scale), zero).astype(np.float32)
    return Uniform(grouping, bits, symmetric, scale, zero)


def _search_scales(
    rows: Float, importance: Float, bits: int, symmetric: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and zero of least error for groups (groups, n); the scale is 0 for groups of zeros.

    Groups are searched in chunks, so that their importance takes little memory.
    """
    scale = np.zeros(len(rows))
    zero = np.zeros(len(rows))
    step = max(1, CHUNK_SIZE // rows.shape[1])
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        scale[part], zero[part] = _best_scales(rows[part], importance[part], bits, symmetric)
    return scale, zero


def _best_scales(
    rows: Float, importance: Float, bits: int, symmetric: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and zero of least error; a group without importance counts all its weights equally."""
    importance = np.where(importance.any(axis=1, keepdims=True), importance, np.float32(1))
    if symmetric:
        scale = _kernels().symmetric_scales(rows, importance, top_code(bits))
        return scale, np.zeros_like(scale)
    reach = _ZERO_REACH.get(bits, 2)
    scale, zero = _kernels().asymmetric_scales(rows, importance, (1 << bits) - 1, reach)
    return scale, zero


def _kernels() -> ModuleType:
    """The compiled kernels; loads numba when they are first used."""
    return load_kernels("grids.scales_kernels")
