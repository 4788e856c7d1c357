"""Losses of single decisions from their probabilities, and calibration error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.metrics.classes import check_range, class_labels, predicted_classes, score_table
from packlight.metrics.fidelity import SMALLEST, are_probabilities, is_float, log_softmax
from packlight.metrics.metric import Outputs, Rows, first_output, of_sums, ratio

BINS = 15
"""Bins of equal mass for the calibration error."""

PER_BIN = 2
"""Least number of decisions in a bin; there are fewer bins where they are too few."""


def class_probabilities(outputs: Outputs, count: int) -> Rows:
    """Class probabilities (count, classes) of the decisions of the first output.

    Rows that are no probabilities count as logits. A single number in [0, 1] is the probability of
    class 1. Empty (0, 0) where the output does not score ``count`` decisions.
    """
    scores = first_output(outputs)
    width = np.atleast_1d(scores).shape[-1]
    if not is_float(scores.dtype) or scores.size != count * width or not scores.size:
        return np.zeros((0, 0))
    table = score_table(outputs)
    if table.shape[1] == 1:
        if not (table.min(initial=0.0) >= 0 and table.max(initial=0.0) <= 1):
            return np.zeros((0, 0))
        return np.hstack([1 - table, table])
    if are_probabilities(table):
        return table
    return np.exp(log_softmax(table))


def nll_and_brier(table: Rows, target: object) -> tuple[Rows, Rows]:
    """Negative log likelihood in nats and Brier score of each decision, both (m,).

    The Brier score is the sum over classes of the squared error, in [0, 2].

    Args:
        table: probabilities (m, classes).
        target: class of each decision.

    Source: Brier, Monthly Weather Review 78 (1950).
    """
    classes = class_labels(target, len(table))
    probability = np.take_along_axis(table, classes[:, None], axis=1)[:, 0]
    brier = np.square(table).sum(axis=1) - 2 * probability + 1
    return -np.log(np.maximum(probability, SMALLEST)), np.maximum(brier, 0)


def calibration_error(
    confidence: Rows, right: NDArray[np.bool_], weights: Rows | None = None, bins: int = BINS
) -> Rows:
    """Expected calibration error over bins of equal mass: mean gap of confidence and accuracy.

    Args:
        confidence: of each decision (m,).
        right: True for each correct decision (m,).
        weights: counts of each decision (draws, m); 1 where there are none.
        bins: number of bins; fewer where there are fewer than twice as many decisions.

    Returns:
        The error of each draw (draws,).

    Source: Naeini, Cooper and Hauskrecht, AAAI (2015); bins of equal mass: Nguyen and O'Connor,
    EMNLP (2015).
    """
    order = np.argsort(confidence, kind="stable")
    counts = np.ones((1, len(order)))
    if weights is not None:
        counts = weights[:, order]
    gap = (right[order] - confidence[order]) * counts
    total = counts.sum(axis=1, keepdims=True)
    used = max(1, min(bins, len(order) // PER_BIN))
    position = (np.cumsum(counts, axis=1) - counts / 2) * used / np.maximum(total, 1)
    bin_of = np.minimum(position.astype(np.int64), used - 1)
    bin_of += used * np.arange(len(counts))[:, None]
    sums = np.bincount(bin_of.ravel(), gap.ravel(), minlength=used * len(counts))
    return np.asarray(np.abs(sums.reshape(-1, used)).sum(axis=1) / np.maximum(total[:, 0], 1))


def _likelihood_row(outputs: Outputs, target: object) -> Rows:
    classes = np.asarray(target).reshape(-1)
    check_range(class_labels(target, classes.size), outputs)
    nats, _ = nll_and_brier(class_probabilities(outputs, classes.size), target)
    return np.array([nats.sum(), nats.size])


LOSS_METRICS = {
    "nll": of_sums(
        "nll", _likelihood_row, ratio, higher_is_better=False, decide=predicted_classes,
        scores=True, unit="nat",
    ),
}  # fmt: skip
"""Negative log likelihood of each decision, as the loss of a language model for each token."""
