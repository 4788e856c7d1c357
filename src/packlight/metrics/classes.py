"""Metrics of decisions between classes: top-k accuracy and F1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.metric import Metric, Outputs, Rows, first_output, of_sums, ratio

TEXT_KINDS = "OSUT"
"""Kinds of NumPy types that hold texts."""

BINARY = 2
THRESHOLD = 0.5
F1_BINARY = "f1_binary"
F1_MACRO = "f1"


def predicted_classes(outputs: Outputs) -> NDArray[np.int64]:
    """The predicted class of each row of scores in the first output.

    An integer output holds classes already. A single score is a probability: class 1 above 0.5.
    """
    output = first_output(outputs)
    if not np.issubdtype(output.dtype, np.floating) and output.dtype.kind in "iub":
        return output.reshape(-1).astype(np.int64)
    table = score_table(outputs)
    if table.shape[1] == 1:
        return (table[:, 0] > THRESHOLD).astype(np.int64)
    return np.asarray(table.argmax(axis=1), dtype=np.int64)


def score_table(outputs: Outputs) -> Rows:
    """The first output as (m, classes); m is 1, or the number of steps or positions."""
    output = first_output(outputs)
    width = np.atleast_1d(output).shape[-1]
    if output.dtype.kind in TEXT_KINDS or not width:
        raise TaskError(
            "scores are numbers; the model's first output that could hold them is "
            f"{output.dtype.name} {list(output.shape)}. Judge it by a metric of your own, in a "
            "task as packlight init-task writes one"
        )
    return output.reshape(-1, width).astype(np.float64)


def class_labels(target: object, count: int) -> NDArray[np.int64]:
    """A sample's target as ``count`` class indices.

    Raises:
        TaskError: their number differs, or they are not integers.
    """
    indices = np.asarray(target).reshape(-1)
    if indices.dtype.kind not in "iub" or indices.size != count:
        raise TaskError(
            f"a target is {count} class indices, one for each decision; "
            f"got {indices.size} of type {indices.dtype}"
        )
    return indices.astype(np.int64)


def top_k(k: int) -> Metric:
    """Share of decisions whose true class is among the k highest scores; ties as argmax."""
    row = _top_1_row if k == 1 else _top_k_row(k)
    return of_sums(f"top{k}", row, ratio, bounded=True, decide=predicted_classes, scores=True)


def _top_1_row(outputs: Outputs, target: object) -> Rows:
    chosen = predicted_classes(outputs)
    true_classes = class_labels(target, chosen.size)
    check_range(true_classes, outputs)
    return np.array([np.count_nonzero(chosen == true_classes), chosen.size], dtype=np.float64)


def _top_k_row(k: int) -> Callable[[Outputs, object], Rows]:
    """Counts for top-k: hits and decisions (2,)."""

    def row(outputs: Outputs, target: object) -> Rows:
        table = score_table(outputs)
        if k < 1 or k >= table.shape[1]:
            raise TaskError(f"top{k} needs more than {k} classes; the model has {table.shape[1]}")
        true_classes = class_labels(target, len(table))
        check_range(true_classes, outputs)
        true_scores = np.take_along_axis(table, true_classes[:, None], axis=1)
        earlier = np.arange(table.shape[1]) < true_classes[:, None]
        rank = (table > true_scores).sum(axis=1) + ((table == true_scores) & earlier).sum(axis=1)
        return np.array([np.count_nonzero(rank < k), len(table)], dtype=np.float64)

    return row


def _class_count(outputs: Outputs) -> int:
    output = first_output(outputs)
    if output.dtype.kind in "iub":
        return 0
    return max(int(np.atleast_1d(output).shape[-1]), BINARY)


def check_range(indices: NDArray[np.int64], outputs: Outputs) -> None:
    """Refuse a class index that the model has no score for."""
    count = _class_count(outputs)
    if indices.size and (indices.min() < 0 or (count and indices.max() >= count)):
        raise TaskError(
            f"a target is a class index from 0 to {count - 1}; "
            f"got {indices.min()} to {indices.max()}"
        )


def _f1_row(outputs: Outputs, target: object) -> Rows:
    """True positives, false positives and false negatives of each class (3 * classes,)."""
    count = _class_count(outputs)
    if not count:
        raise TaskError("f1 needs an output of class scores; the model's first output is integer")
    chosen = predicted_classes(outputs)
    true_classes = class_labels(target, chosen.size)
    check_range(true_classes, outputs)
    hits = np.bincount(true_classes[chosen == true_classes], minlength=count)
    predicted = np.bincount(chosen, minlength=count)
    actual = np.bincount(true_classes, minlength=count)
    return np.concatenate([hits, predicted - hits, actual - hits]).astype(np.float64)


def _f1_scores(sums: Rows) -> tuple[Rows, Rows]:
    hit, false, missed = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    base = 2 * hit + false + missed
    return 2 * hit / np.where(base == 0, 1, base), (base > 0).astype(np.float64)


def _f1_macro(sums: Rows) -> Rows:
    scores, occurs = _f1_scores(sums)
    return np.asarray(scores.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1))


def _f1_positive(sums: Rows) -> Rows:
    return _f1_scores(sums)[0][..., 1]


CLASS_METRICS = {
    "top1": top_k(1),
    "top5": top_k(5),
    F1_MACRO: of_sums(
        F1_MACRO, _f1_row, _f1_macro, bounded=True, decide=predicted_classes, scores=True
    ),
    F1_BINARY: of_sums(
        F1_BINARY, _f1_row, _f1_positive, bounded=True, decide=predicted_classes, scores=True
    ),
}
"""Metrics by name; :func:`top_k` makes more."""
