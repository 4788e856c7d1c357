"""How far files shrink when they are zipped for a download, before their codes are there.

Deflate comes near the entropy of bytes. Codes whose width divides 8 keep their places in bytes, so
their entropy shows; others straddle bytes and look random.
Source of the entropies of tables: Max, "Quantizing for minimum distortion" (1960), table I, for
normal values. Those of grids are taken of the model's own weights, trained or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compress.sites import Weight, weight_sites
from packlight.records.measurement import Measurement
from packlight.records.recipe import Recipe

Floats = NDArray[np.float32]

TABLES: Final[Mapping[int, float]] = {1: 1.0, 2: 0.955, 4: 0.941}
"""Entropy for each bit of an index into a table of least squared error."""

FLOATS = (0.86, 0.95)
"""Of float32 and float16 numbers: signs and exponents shrink, mantissas do not."""

GRAPH = (0.15, 0.40)
"""Of operators and names."""

OVERHEAD = 0.03
"""Deflate stays about so much above the entropy."""

MOST, ROWS, EACH = 8, 64, 65_536
"""Weights whose numbers are looked at, rows of each, and numbers."""


def download(
    size: Measurement, coded: float, operators: float, shares: tuple[float, float]
) -> Measurement:
    """Bytes of the zipped file, as an interval.

    Args:
        size: of the file.
        coded: bytes of what a recipe changed.
        operators: bytes of operators and names, about, those of stored Constants included.
        shares: of their bytes that the codes zip to, at least and at most.
    """
    rest = max(0.0, size.value - coded - operators)
    ends = [
        coded * of_codes + rest * of_floats + min(operators, size.value) * of_graph
        for of_codes, of_floats, of_graph in zip(shares, FLOATS, GRAPH, strict=True)
    ]
    low, high = (min(end, size.high) for end in ends)
    return Measurement((low + high) / 2, "B", low, high, "estimated", 1)


def density(recipe: Recipe, sample: Sequence[Floats]) -> tuple[float, float]:
    """Between which shares of their bytes the codes of a recipe zip."""
    step = recipe.steps[-1] if recipe.steps else None
    bits = int(step.config.get("bits", 16)) if step else 16
    if step is None or step.method == "float16" or bits > 8:  # noqa: PLR2004
        return FLOATS
    if 8 % bits:
        return 0.97, 1.0
    of_bit = TABLES.get(bits, 0.95) if step.method == "palette" else entropy(sample, bits) / bits
    return of_bit * (1 - OVERHEAD), min(1.0, of_bit * (1 + 2 * OVERHEAD))


def entropy(sample: Sequence[Floats], bits: int) -> float:
    """Mean bits of information of a code, for symmetric grids of rows of weights."""
    top, counts = (1 << (bits - 1)) - 1, np.zeros(1 << bits)
    for rows in sample:
        widest = np.abs(rows).max(axis=1, keepdims=True)
        codes = np.rint(rows / np.where(widest > 0, widest, 1) * top).astype(np.int64) + top
        counts += np.bincount(codes.ravel(), minlength=len(counts))[: len(counts)]
    if not counts.any():
        return float(bits)
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def some_rows(graph: ir.Model) -> list[Floats]:
    """Rows of the largest weights, those of one output each, some numbers of every one."""
    found = [site for site in weight_sites(graph) if isinstance(site, Weight)]
    largest = sorted(found, key=lambda site: -site.tensor.size)[:MOST]
    return list(filter(len, map(rows_of, largest)))


def rows_of(site: Weight) -> Floats:
    """Some rows of a weight; none where its numbers are no numbers."""
    array = site.read()
    kept = [axis for axis in range(array.ndim) if axis not in site.summed]
    width = int(np.prod([array.shape[axis] for axis in site.summed]))
    rows = array.transpose(*kept, *site.summed).reshape(-1, max(1, width))
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS)).astype(np.int64)]
    some = some[:, : max(1, EACH // ROWS)]
    return some if np.isfinite(some).all() else some[:0]
