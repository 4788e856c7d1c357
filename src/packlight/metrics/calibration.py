"""Whether probabilities mean what they say: losses of single decisions, and calibration error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.metrics.classes import check_range, choose, labels, score_table
from packlight.metrics.fidelity import SMALLEST, are_probabilities, is_float, log_softmax
from packlight.metrics.metric import Outputs, Rows, of_sums, primary, ratio

BINS = 15
"""Of equal mass, over which the calibration error is taken."""

PER_BIN = 2
"""Decisions in a bin at least, where there are too few for all bins."""


def chances(outputs: Outputs, count: int) -> Rows:
    """Probabilities of the classes (count, classes) behind decisions of the first output.

    Rows that are no probabilities count as logits. One number in [0, 1] is the probability of
    class 1. Empty (0, 0) where the output does not score so many decisions.
    """
    found = primary(outputs)
    width = found.shape[-1] if found.ndim else 1
    if not is_float(found.dtype) or found.size != count * width or not found.size:
        return np.zeros((0, 0))
    table = score_table(outputs)
    if table.shape[1] == 1:
        inside = bool(table.min(initial=0.0) >= 0 and table.max(initial=0.0) <= 1)
        return np.hstack([1 - table, table]) if inside else np.zeros((0, 0))
    return table if are_probabilities(table) else np.exp(log_softmax(table))


def losses(table: Rows, target: object) -> tuple[Rows, Rows]:
    """Negative log likelihood in nats and Brier score of each decision, both (m,).

    The Brier score is the sum over classes of the squared error, in [0, 2].

    Args:
        table: probabilities (m, classes).
        target: class of each decision.

    Source: Brier, Monthly Weather Review 78 (1950).
    """
    wanted = labels(target, len(table))
    own = np.take_along_axis(table, wanted[:, None], axis=1)[:, 0]
    brier = np.square(table).sum(axis=1) - 2 * own + 1
    return -np.log(np.maximum(own, SMALLEST)), np.maximum(brier, 0)


def calibration_error(
    confidence: Rows, right: NDArray[np.bool_], weights: Rows | None = None, bins: int = BINS
) -> Rows:
    """Expected calibration error over bins of equal mass: mean gap of confidence and accuracy.

    Args:
        confidence: of each decision (m,).
        right: whether each was right (m,).
        weights: how often each decision counts (draws, m); once where there are none.
        bins: how many; fewer where there are fewer than twice as many decisions.

    Returns:
        One number for each draw (draws,).

    Source: Naeini, Cooper and Hauskrecht, AAAI (2015); bins of equal mass: Nguyen and O'Connor,
    EMNLP (2015).
    """
    order = np.argsort(confidence, kind="stable")
    counts = np.ones((1, len(order))) if weights is None else weights[:, order]
    gap = (right[order] - confidence[order]) * counts
    total = counts.sum(axis=1, keepdims=True)
    used = max(1, min(bins, len(order) // PER_BIN))
    place = (np.cumsum(counts, axis=1) - counts / 2) * used / np.maximum(total, 1)
    bin_of = np.minimum(place.astype(np.int64), used - 1) + used * np.arange(len(counts))[:, None]
    sums = np.bincount(bin_of.ravel(), gap.ravel(), minlength=used * len(counts))
    return np.asarray(np.abs(sums.reshape(-1, used)).sum(axis=1) / np.maximum(total[:, 0], 1))


def likelihood_row(outputs: Outputs, target: object) -> Rows:
    """Negative log likelihood of the targets in nats, and their number (2,)."""
    wanted = np.asarray(target).reshape(-1)
    check_range(labels(target, wanted.size), outputs)
    nats, _ = losses(chances(outputs, wanted.size), target)
    return np.array([nats.sum(), nats.size])


LOSS_METRICS = {
    "nll": of_sums(
        "nll", likelihood_row, ratio, higher_is_better=False, decide=choose, scores=True,
        unit="nat",
    ),
}  # fmt: skip
"""Negative log likelihood of each decision, as the loss of a language model for each token."""
