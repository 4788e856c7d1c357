"""Tables of values fitted to one weight, and which entry each number goes to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from packlight.compression.grids.granularity import top_code
from packlight.compression.grids.kmeans import CHUNK_SIZE, DISTINCT, cluster
from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.sites.weight_matrix import Layout

Float = NDArray[np.float32]

ROUNDS = 3
"""Times that tables and the scales of channels are fitted to each other."""

_ROUGH_BINS = 4096
"""Bins of the tables that are not the last."""

_ENTRY_BITS = 8


@dataclass(frozen=True, slots=True)
class Codebook:
    """Values table[code] * scale for each output channel.

    Attributes:
        order: axes of the weight, those that tell outputs apart first.
        outputs: channels.
        channels: that share a table.
        tables: (tables, entries), increasing.
        scale: (outputs,), at least 0.
    """

    order: tuple[int, ...]
    outputs: int
    channels: int
    tables: Float
    scale: Float

    def rows(self, weight: Float) -> Float:
        """(outputs, n)."""
        return weight.transpose(self.order).reshape(self.outputs, -1)

    def back(self, rows: Float, shape: tuple[int, ...]) -> Float:
        """The weight's own shape from (outputs, n)."""
        turned = [shape[axis] for axis in self.order]
        return rows.reshape(turned).transpose(np.argsort(self.order))

    def table_of(self, output: int) -> Float:
        """The table of an output channel."""
        table: Float = self.tables[output // self.channels]
        return table

    def nearest(self, weight: Float) -> Float:
        """Index of the nearest value for every number, of the weight's shape."""
        rows = self.rows(weight)
        codes = np.empty(rows.shape, np.float32)
        alike = (self.scale == 1).all() and len(self.tables) == 1
        step = max(1, CHUNK_SIZE // rows.shape[1]) if alike else 1
        for first in range(0, len(rows), step):
            scale = np.float64(self.scale[first])
            table = self.table_of(first).astype(np.float64) * scale
            part = slice(first, first + step)
            codes[part] = np.searchsorted((table[1:] + table[:-1]) / 2, rows[part])
        return self.back(codes, weight.shape)

    def values(self, codes: Float) -> Float:
        """What codes stand for, computed as the file does."""
        rows = self.rows(codes).astype(np.uint8)
        which = np.arange(self.outputs)[:, None] // self.channels
        found = self.tables[which, rows] if len(self.tables) > 1 else self.tables[0][rows]
        return self.back(found * self.scale[:, None], codes.shape)

    def lattice(self, form: Layout) -> Lattice:
        """The same values, for the rows of the weight's matrices."""
        size = math.prod(form.shape) // self.outputs
        spread = np.repeat(np.arange(self.outputs, dtype=np.float32)[:, None], size, axis=1)
        output = form.matrices(self.back(spread, form.shape))[:, :, 0].astype(np.int64)
        scale = np.ascontiguousarray(self.scale[output][:, :, None], np.float64)
        tables = self.tables.astype(np.float64)
        block, top = form.sizes()[2], tables.shape[1] - 1
        return Lattice(scale, np.zeros_like(scale), block, 0, top, tables, output // self.channels)

    def short_tables(self) -> Mapping[str, NDArray[np.generic]]:
        """Tables as 8-bit integers with a step for each, where they were rounded to such."""
        step = _table_steps(self.tables)
        return {"table": _int8_entries(self.tables, step).astype(np.int8), "step": step}


def blank_codebook(order: tuple[int, ...], outputs: int, channels: int, bits: int) -> Codebook:
    """Tables without content.

    Args:
        order: axes of the weight, those that tell outputs apart first.
        outputs: channels.
        channels: that share a table; the last table may have fewer.
        bits: of an index.
    """
    tables = np.zeros((-(-outputs // channels), 1 << bits), np.float32)
    return Codebook(order, outputs, channels, tables, np.ones(outputs, np.float32))


def fit_codebook(
    found: Codebook,
    weight: Float,
    importance: Float,
    *,
    scaled: bool,
    short: bool,
    rough: bool = False,
) -> Codebook:
    """The tables, and scales of channels, of least squared error.

    Args:
        found: blank.
        weight: any shape.
        importance: of the same shape, how much a squared error matters, at least 0.
        scaled: whether channels have scales; they and the tables are fitted in turns.
        short: whether entries are rounded to 8-bit integers.
        rough: whether tables are only about the best, which is enough to foresee errors.
    """
    rows, matters = found.rows(weight), found.rows(importance)
    if scaled:
        found = replace(found, scale=_row_peaks(rows))
    for left in reversed(range(ROUNDS if scaled else 1)):
        distinct = _ROUGH_BINS if rough or left else DISTINCT
        found = replace(found, tables=_fit_tables(found, rows, matters, distinct))
        if short:
            found = replace(found, tables=_int8_tables(found.tables))
        if scaled:
            found = replace(found, scale=_fit_scales(found, rows, matters))
    return found


def _row_peaks(rows: Float) -> Float:
    """The largest of each row, so that one outlier does not stretch a table.

    A row of zeros gets 1, but no more than the widest has: by the squares of their scales rows have
    their say in the table.
    """
    wide = np.abs(rows).max(axis=1)
    widest = wide.max() or np.float32(1)
    spread: Float = np.where(wide > 0, wide, np.minimum(widest, np.float32(1)))
    return spread


def _fit_tables(found: Codebook, rows: Float, matters: Float, distinct: int) -> Float:
    """The best tables for the channels' scales as they are."""
    scale, tables = found.scale[:, None], np.zeros_like(found.tables)
    plain = bool((found.scale == 1).all())
    even = matters.strides == (0, 0) or not matters.any()
    for index in range(len(tables)):
        part = slice(index * found.channels, (index + 1) * found.channels)
        share = (scale[part] / scale[part].max()) ** 2
        mass = None if plain and even else np.ascontiguousarray(matters[part] * share)
        points = rows[part] if plain else rows[part] / scale[part]
        centres = cluster(points, mass, tables.shape[1], distinct).astype(np.float32)
        tables[index] = np.pad(centres, (0, tables.shape[1] - len(centres)), mode="edge")
    return tables


def _int8_tables(tables: Float) -> Float:
    """Tables whose entries are 8-bit integers times a step."""
    step = _table_steps(tables)
    return _int8_entries(tables, step) * step


def _int8_entries(tables: Float, step: Float) -> Float:
    """Whole numbers of steps; those of a step that underflows float32 end where 8 bits do."""
    top = top_code(_ENTRY_BITS)
    return np.asarray(np.clip(np.rint(tables / step), -top, top), np.float32)


def _table_steps(tables: Float) -> Float:
    """The step of 8-bit entries of each table, (tables, 1)."""
    step = np.abs(tables).max(axis=1, keepdims=True) / np.float32(top_code(_ENTRY_BITS))
    return np.where(step > 0, step, np.float32(1)).astype(np.float32)


def _fit_scales(found: Codebook, rows: Float, matters: Float) -> Float:
    """The best scale of every channel for its entries as they are."""
    codes, apart = np.empty(rows.shape, np.int64), rows / found.scale[:, None]
    for index, table in enumerate(found.tables):
        part = slice(index * found.channels, (index + 1) * found.channels)
        codes[part] = np.searchsorted((table[1:] + table[:-1]) / 2, apart[part])
    which = np.arange(found.outputs)[:, None] // found.channels
    entries = found.tables[which, codes].astype(np.float64)
    along, norm = (entries * rows * matters).sum(axis=1), (matters * entries**2).sum(axis=1)
    better = (norm > 0) & (along > 0)
    best = np.divide(along, norm, out=np.zeros_like(norm), where=better).astype(np.float32)
    return np.where(best > 0, best, found.scale)
