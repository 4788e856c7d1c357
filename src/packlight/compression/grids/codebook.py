"""Codebooks (palettes) fitted to one weight, and rounding to the nearest entry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from packlight.compression.grids.grouping import top_code
from packlight.compression.grids.kmeans import CHUNK_SIZE, DISTINCT, cluster
from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.sites.weight_matrix import Layout

Float = NDArray[np.float32]

ROUNDS = 3
"""Rounds in which tables and scales of channels are fitted to each other."""

_ROUGH_BINS = 4096
"""Bins of values in all rounds before the last."""

_ENTRY_BITS = 8


@dataclass(frozen=True, slots=True)
class Codebook:
    """Values table[code] * scale for each output channel.

    Attributes:
        shape: of the weight, with an axis more where groups of outputs need one.
        order: axes of this shape, output axes first.
        outputs: output channels.
        channels: output channels that share a table.
        tables: (tables, entries), increasing.
        scale: (outputs,), at least 0.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    outputs: int
    channels: int
    tables: Float
    scale: Float

    def rows(self, weight: Float) -> Float:
        """(outputs, n)."""
        return weight.reshape(self.shape).transpose(self.order).reshape(self.outputs, -1)

    def from_rows(self, rows: Float, shape: tuple[int, ...]) -> Float:
        """Array of the weight's shape from (outputs, n)."""
        moved = [self.shape[axis] for axis in self.order]
        return rows.reshape(moved).transpose(np.argsort(self.order)).reshape(shape)

    def table_of(self, output: int) -> Float:
        """The table of an output channel."""
        table: Float = self.tables[output // self.channels]
        return table

    def nearest(self, weight: Float) -> Float:
        """Index of the nearest entry for every element, of the weight's shape."""
        rows = self.rows(weight)
        codes = np.empty(rows.shape, np.float32)
        step = 1
        if len(self.tables) == 1 and (self.scale == 1).all():
            step = max(1, CHUNK_SIZE // rows.shape[1])
        for first in range(0, len(rows), step):
            scale = np.float64(self.scale[first])
            table = self.table_of(first).astype(np.float64) * scale
            part = slice(first, first + step)
            codes[part] = np.searchsorted((table[1:] + table[:-1]) / 2, rows[part])
        return self.from_rows(codes, weight.shape)

    def values(self, codes: Float) -> Float:
        """Values of codes, computed as in the model file."""
        rows = self.rows(codes).astype(np.uint8)
        table_of = np.arange(self.outputs)[:, None] // self.channels
        entries = self.tables[table_of, rows] if len(self.tables) > 1 else self.tables[0][rows]
        return self.from_rows(entries * self.scale[:, None], codes.shape)

    def lattice(self, form: Layout) -> Lattice:
        """The scaled entries, for the rows of the weight's matrices."""
        size = math.prod(form.shape) // self.outputs
        spread = np.repeat(np.arange(self.outputs, dtype=np.float32)[:, None], size, axis=1)
        output = form.matrices(self.from_rows(spread, form.shape))[:, :, 0].astype(np.int64)
        scale = np.ascontiguousarray(self.scale[output][:, :, None], np.float64)
        tables = self.tables.astype(np.float64)
        block = form.sizes()[2]
        top = tables.shape[1] - 1
        return Lattice(scale, np.zeros_like(scale), block, 0, top, tables, output // self.channels)

    def short_tables(self) -> Mapping[str, NDArray[np.generic]]:
        """Short tables as 8-bit integers with a step for each table."""
        step = _table_steps(self.tables)
        return {"table": _int8_entries(self.tables, step).astype(np.int8), "step": step}


def blank_codebook(
    shape: tuple[int, ...], order: tuple[int, ...], channels: int, bits: int, *, outputs: int
) -> Codebook:
    """Tables without content.

    Args:
        shape: of the weight, with an axis more where groups of outputs need one.
        order: axes of this shape, output axes first.
        channels: output channels that share a table; the last table may have fewer.
        bits: of an index.
        outputs: output channels.
    """
    tables = np.zeros((-(-outputs // channels), 1 << bits), np.float32)
    return Codebook(shape, order, outputs, channels, tables, np.ones(outputs, np.float32))


def fit_codebook(
    blank: Codebook,
    weight: Float,
    importance: Float,
    *,
    scaled: bool,
    short: bool,
    rough: bool = False,
) -> Codebook:
    """The tables, and scales of channels, of least squared error.

    Args:
        blank: from ``blank_codebook``.
        weight: any shape.
        importance: weight of a squared error, at least 0, of the same shape.
        scaled: channels have scales; they and the tables are fitted in turns.
        short: entries are rounded to 8-bit integers.
        rough: tables are approximate, which suffices to predict errors.
    """
    codebook = blank
    rows = blank.rows(weight)
    row_importance = blank.rows(importance)
    rounds = 1
    if scaled:
        codebook = replace(codebook, scale=_row_peaks(rows))
        rounds = ROUNDS
    for remaining in reversed(range(rounds)):
        bins = _ROUGH_BINS if rough or remaining else DISTINCT
        codebook = replace(codebook, tables=_fit_tables(codebook, rows, row_importance, bins))
        if short:
            codebook = replace(codebook, tables=_int8_tables(codebook.tables))
        if scaled:
            codebook = replace(codebook, scale=_fit_scales(codebook, rows, row_importance))
    return codebook


def _row_peaks(rows: Float) -> Float:
    """Largest magnitude of each row, so that one outlier does not stretch a table.

    A row of zeros gets 1, but no more than the widest row: the squares of the scales weight rows in
    the fit of the table.
    """
    wide = np.abs(rows).max(axis=1)
    widest = wide.max() or np.float32(1)
    spread: Float = np.where(wide > 0, wide, np.minimum(widest, np.float32(1)))
    return spread


def _fit_tables(codebook: Codebook, rows: Float, importance: Float, distinct: int) -> Float:
    """The best tables for the present scales of channels."""
    scale = codebook.scale[:, None]
    tables = np.zeros_like(codebook.tables)
    plain = bool((codebook.scale == 1).all())
    even = importance.strides == (0, 0) or not importance.any()
    for index in range(len(tables)):
        part = slice(index * codebook.channels, (index + 1) * codebook.channels)
        points = rows[part]
        mass = None
        if not (plain and even):
            share = (scale[part] / scale[part].max()) ** 2
            mass = np.ascontiguousarray(importance[part] * share)
        if not plain:
            points = points / scale[part]
        centers = cluster(points, mass, tables.shape[1], distinct).astype(np.float32)
        tables[index] = np.pad(centers, (0, tables.shape[1] - len(centers)), mode="edge")
    return tables


def _int8_tables(tables: Float) -> Float:
    step = _table_steps(tables)
    return _int8_entries(tables, step) * step


def _int8_entries(tables: Float, step: Float) -> Float:
    """Entries as 8-bit integers; clipped where the step underflows float32."""
    top = top_code(_ENTRY_BITS)
    return np.asarray(np.clip(np.rint(tables / step), -top, top), np.float32)


def _table_steps(tables: Float) -> Float:
    """Step of the 8-bit entries of each table, (tables, 1)."""
    step = np.abs(tables).max(axis=1, keepdims=True) / np.float32(top_code(_ENTRY_BITS))
    return np.where(step > 0, step, np.float32(1)).astype(np.float32)


def _fit_scales(codebook: Codebook, rows: Float, importance: Float) -> Float:
    """The best scale of every channel for its present entries."""
    codes = np.empty(rows.shape, np.int64)
    scaled = rows / codebook.scale[:, None]
    for index, table in enumerate(codebook.tables):
        part = slice(index * codebook.channels, (index + 1) * codebook.channels)
        codes[part] = np.searchsorted((table[1:] + table[:-1]) / 2, scaled[part])
    table_of = np.arange(codebook.outputs)[:, None] // codebook.channels
    entries = codebook.tables[table_of, codes].astype(np.float64)
    along = (entries * rows * importance).sum(axis=1)
    norm = (importance * entries**2).sum(axis=1)
    usable = (norm > 0) & (along > 0)
    best = np.divide(along, norm, out=np.zeros_like(norm), where=usable).astype(np.float32)
    return np.where(best > 0, best, codebook.scale)
