"""Rank agreement of embeddings: whether a variant keeps the order of neighbors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.metrics import Rows

MOST_SAMPLES = 1000
"""Samples whose vectors are compared, evenly spread over all."""

ROOM = 64 << 20
"""Bytes that the vectors of one model may take."""

FEWEST = 3
"""Samples below which neighbors have no order."""


def sampled_indices(n: int, width: int) -> NDArray[np.int64]:
    """Indices of the samples whose vectors (width,) are compared."""
    count = min(n, MOST_SAMPLES, ROOM // max(4 * width, 1))
    return np.unique(np.linspace(0, n - 1, max(count, 1)).round().astype(np.int64))


def rank_agreement(before: Rows, after: Rows) -> tuple[Rows, Rows]:
    """Compare, for each vector, the order of the other vectors by similarity to it.

    Args:
        before: vectors of the reference (k, d).
        after: vectors of the variant (k, d).

    Returns:
        Spearman's correlation of the cosines to all other vectors (k,), and whether the nearest
        vector is unchanged (k,).
    """
    first = _similarity(before)
    second = _similarity(after)
    first_ranks = _centered_ranks(first)
    second_ranks = _centered_ranks(second)
    lengths = np.sqrt(np.square(first_ranks).sum(axis=1) * np.square(second_ranks).sum(axis=1))
    correlation = (first_ranks * second_ranks).sum(axis=1) / np.where(lengths == 0, 1, lengths)
    return correlation, (first.argmax(axis=1) == second.argmax(axis=1)).astype(np.float64)


def _centered_ranks(similarities: Rows) -> Rows:
    ranks = np.argsort(np.argsort(similarities, axis=1), axis=1).astype(float)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))


def _similarity(vectors: Rows) -> Rows:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths == 0, 1, lengths)
    table = unit @ unit.T
    k = len(table)
    return np.asarray(table[~np.eye(k, dtype=bool)].reshape(k, k - 1))
