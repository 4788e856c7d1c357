"""Uniform grids fitted to one weight: how wide, where zero lies, and which point is nearest."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packlight.compression.grids.granularity import (
    Float,
    Grouping,
    minmax_range,
    minmax_scale,
    top_code,
)
from packlight.compression.grids.kmeans import CHUNK_SIZE
from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.sites.weight_matrix import Layout

Codes = NDArray[np.float32]
Range = Literal["minmax", "mse", "moments"]

_ZERO_REACH = {2: 3, 3: 7, 4: 4}
"""How far from that of the whole range zeros are tried; 2 for wider codes."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Points (code - zero) * scale for each group of weights.

    Attributes:
        grouping: who shares a scale.
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
    def ends(self) -> tuple[int, int]:
        """Lowest and highest code."""
        top = top_code(self.bits)
        return (-top, top) if self.symmetric else (0, (1 << self.bits) - 1)

    def nearest(self, weight: Float) -> Codes:
        """The code of the nearest point; at most half a step away within the range of the grid."""
        points = self.grouping.split(weight) / self.scale
        np.rint(points, out=points)
        points += self.zero
        np.clip(points, *self.ends, out=points)
        return np.asarray(self.grouping.join(points).reshape(weight.shape), np.float32)

    def values(self, codes: Codes) -> Float:
        """What codes stand for, computed as the file does."""
        viewed = (self.grouping.split(codes) - self.zero) * self.scale
        return np.asarray(self.grouping.join(viewed).reshape(codes.shape), np.float32)

    def lattice(self, form: Layout) -> Lattice:
        """The points, for the rows of the weight's matrices."""
        scale, block = self.spread(self.scale, form)
        zero, _ = self.spread(self.zero, form)
        tables, table_of = np.zeros((1, 0)), np.zeros(scale.shape[:2], np.int64)
        return Lattice(scale, zero, block, *self.ends, tables, table_of)

    def spread(self, part: Float, form: Layout) -> tuple[NDArray[np.float64], int]:
        """What every block of columns of the matrices has, and how many columns that is."""
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
    search: Range,
) -> Uniform:
    """The grid of a weight.

    Args:
        weight: of shape ``grouping.shape`` when reshaped.
        importance: of the same shape, how much a squared error matters, at least 0.
        grouping: who shares a scale.
        bits: width of a code, 2 to 8.
        symmetric: whether zero is in the middle of the codes.
        search: ``minmax`` just reaches the largest weights; ``mse`` has the least squared error of
            all scales at which the largest weight takes the largest code; ``moments`` counts each
            error by its importance.
    """
    scale, zero = (minmax_scale if symmetric else minmax_range)(weight, grouping, bits)
    if search != "minmax":
        rows = grouping.rows(weight)
        even = np.broadcast_to(np.float32(1), rows.shape)
        matters = grouping.rows(importance) if search == "moments" else even
        found, middle = _search_scales(rows, matters, bits, symmetric)
        better = (found > np.finfo(np.float32).tiny).reshape(grouping.scale)
        scale = np.where(better, found.reshape(grouping.scale), scale).astype(np.float32)
        zero = np.where(better, middle.reshape(grouping.scale), zero).astype(np.float32)
    return Uniform(grouping, bits, symmetric, scale, zero)


def _search_scales(
    rows: Float, matters: Float, bits: int, symmetric: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and zero of least error for groups (groups, n); the scale is 0 where all are 0.

    Some groups at a time, so that what is made of their importance stays small.
    """
    scale, zero = np.zeros(len(rows)), np.zeros(len(rows))
    step = max(1, CHUNK_SIZE // rows.shape[1])
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        scale[part], zero[part] = _best_scales(rows[part], matters[part], bits, symmetric)
    return scale, zero


def _best_scales(
    rows: Float, matters: Float, bits: int, symmetric: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and zero of least error; where no weight of a group matters, all do."""
    matters = np.where(matters.any(axis=1, keepdims=True), matters, np.float32(1))
    if symmetric:
        scale = _kernels().symmetric_scales(rows, matters, top_code(bits))
        return scale, np.zeros_like(scale)
    reach = _ZERO_REACH.get(bits, 2)
    scale, zero = _kernels().asymmetric_scales(rows, matters, (1 << bits) - 1, reach)
    return scale, zero


def _kernels() -> ModuleType:
    """The compiled kernels; numba is loaded only when they are used."""
    return import_module("packlight.compression.grids.scales_kernels")
