"""Whether embeddings keep who is near whom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.metrics import Rows

MOST = 1000
"""Samples whose vectors are kept, evenly spread over all."""

ROOM = 64 << 20
"""Bytes that the vectors of one model may take."""

FEWEST = 3
"""Samples below which there is no order among neighbours."""


def chosen(n: int, width: int) -> NDArray[np.int64]:
    """Indices of the samples whose vectors (width,) are kept."""
    most = min(n, MOST, ROOM // max(4 * width, 1))
    return np.unique(np.linspace(0, n - 1, max(most, 1)).round().astype(np.int64))


def rank_agreement(before: Rows, after: Rows) -> tuple[Rows, Rows]:
    """For each vector, whether the others keep their order of similarity to it.

    Args:
        before: vectors of the reference (k, d).
        after: vectors of the variant (k, d).

    Returns:
        Spearman's correlation of the cosines to all others (k,), and whether the nearest is the
        same one (k,).
    """
    first, second = (similarity(vectors) for vectors in (before, after))
    ranks = [
        np.argsort(np.argsort(table, axis=1), axis=1).astype(float) for table in (first, second)
    ]
    centred = [table - table.mean(axis=1, keepdims=True) for table in ranks]
    lengths = np.sqrt(np.square(centred[0]).sum(axis=1) * np.square(centred[1]).sum(axis=1))
    kept = (centred[0] * centred[1]).sum(axis=1) / np.where(lengths == 0, 1, lengths)
    return kept, (first.argmax(axis=1) == second.argmax(axis=1)).astype(np.float64)


def similarity(vectors: Rows) -> Rows:
    """Cosines between vectors (k, d), each to all others (k, k - 1)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths == 0, 1, lengths)
    table = unit @ unit.T
    k = len(table)
    return np.asarray(table[~np.eye(k, dtype=bool)].reshape(k, k - 1))
