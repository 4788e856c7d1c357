"""Metrics of decisions between classes: top-k accuracy and F1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.metric import Metric, Outputs, Rows, of_sums, primary, ratio

BINARY = 2
THRESHOLD = 0.5
F1_BINARY, F1_MACRO = "f1_binary", "f1"


def choose(outputs: Outputs) -> NDArray[np.int64]:
    """The class decided for each row of scores in the first output.

    An integer output holds classes already. A single score is a probability: class 1 above 0.5.
    """
    found = primary(outputs)
    if not np.issubdtype(found.dtype, np.floating) and found.dtype.kind in "iub":
        return found.reshape(-1).astype(np.int64)
    table = score_table(outputs)
    if table.shape[1] == 1:
        return (table[:, 0] > THRESHOLD).astype(np.int64)
    return np.asarray(table.argmax(axis=1), dtype=np.int64)


def score_table(outputs: Outputs) -> Rows:
    """The first output as (m, classes): m is 1, or the steps or positions of the sample."""
    found = primary(outputs)
    width = found.shape[-1] if found.ndim else 1
    return found.reshape(-1, width).astype(np.float64)


def labels(target: object, count: int) -> NDArray[np.int64]:
    """A sample's target as ``count`` class indices.

    Raises:
        TaskError: it has another number of them, or they are not integers.
    """
    wanted = np.asarray(target).reshape(-1)
    if wanted.dtype.kind not in "iub" or wanted.size != count:
        raise TaskError(
            f"a target is {count} class indices, one for each decision; "
            f"got {wanted.size} of type {wanted.dtype}"
        )
    return wanted.astype(np.int64)


def top_k(k: int) -> Metric:
    """Share of decisions whose true class is among the k highest scores; ties as argmax."""
    row = top_1_row if k == 1 else top_k_row(k)
    return of_sums(f"top{k}", row, ratio, bounded=True, decide=choose, scores=True)


def top_1_row(outputs: Outputs, target: object) -> Rows:
    """Right decisions and all decisions of one sample (2,)."""
    chosen = choose(outputs)
    wanted = labels(target, chosen.size)
    check_range(wanted, outputs)
    return np.array([np.count_nonzero(chosen == wanted), chosen.size], dtype=np.float64)


def top_k_row(k: int) -> Callable[[Outputs, object], Rows]:
    """Counts for top-k: hits and decisions (2,)."""

    def row(outputs: Outputs, target: object) -> Rows:
        table = score_table(outputs)
        if k < 1 or k >= table.shape[1]:
            raise TaskError(f"top{k} needs more than {k} classes; the model has {table.shape[1]}")
        wanted = labels(target, len(table))
        check_range(wanted, outputs)
        own = np.take_along_axis(table, wanted[:, None], axis=1)
        earlier = np.arange(table.shape[1]) < wanted[:, None]
        rank = (table > own).sum(axis=1) + ((table == own) & earlier).sum(axis=1)
        return np.array([np.count_nonzero(rank < k), len(table)], dtype=np.float64)

    return row


def classes(outputs: Outputs) -> int:
    """How many classes the first output scores; 0 where it holds classes already."""
    found = primary(outputs)
    if found.dtype.kind in "iub":
        return 0
    return max(found.shape[-1] if found.ndim else 1, BINARY)


def check_range(wanted: NDArray[np.int64], outputs: Outputs) -> None:
    """Refuse a class index that the model has no score for."""
    count = classes(outputs)
    if wanted.size and (wanted.min() < 0 or (count and wanted.max() >= count)):
        raise TaskError(
            f"a target is a class index from 0 to {count - 1}; got {wanted.min()} to {wanted.max()}"
        )


def f1_row(outputs: Outputs, target: object) -> Rows:
    """True positives, false positives and false negatives of each class (3 * classes,)."""
    count = classes(outputs)
    if not count:
        raise TaskError("f1 needs an output of class scores; the model's first output is integer")
    chosen = choose(outputs)
    wanted = labels(target, chosen.size)
    check_range(wanted, outputs)
    hit = np.bincount(wanted[chosen == wanted], minlength=count)
    guessed, present = np.bincount(chosen, minlength=count), np.bincount(wanted, minlength=count)
    return np.concatenate([hit, guessed - hit, present - hit]).astype(np.float64)


def f1_scores(sums: Rows) -> tuple[Rows, Rows]:
    """F1 of each class (..., classes) and whether the class occurs at all."""
    hit, false, missed = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    base = 2 * hit + false + missed
    return 2 * hit / np.where(base == 0, 1, base), (base > 0).astype(np.float64)


def f1_macro(sums: Rows) -> Rows:
    """Mean F1 over the classes that occur, in targets or decisions."""
    scores, occurs = f1_scores(sums)
    return np.asarray(scores.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1))


def f1_positive(sums: Rows) -> Rows:
    """F1 of class 1."""
    return f1_scores(sums)[0][..., 1]


CLASS_METRICS = {
    "top1": top_k(1),
    "top5": top_k(5),
    F1_MACRO: of_sums(F1_MACRO, f1_row, f1_macro, bounded=True, decide=choose, scores=True),
    F1_BINARY: of_sums(F1_BINARY, f1_row, f1_positive, bounded=True, decide=choose, scores=True),
}
"""Each by its name; :func:`top_k` makes the others."""
