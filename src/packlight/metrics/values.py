"""Metrics of predicted numbers: errors and correlations."""

from __future__ import annotations

import numpy as np

from packlight.errors import TaskError
from packlight.metrics.metric import Metric, Outputs, Rows, first_output, numbers, of_sums, ratio

CORRELATED = 2


def _predictions_and_targets(outputs: Outputs, target: object) -> tuple[Rows, Rows]:
    """Predictions and targets of one sample, both (m,).

    Raises:
        TaskError: they differ in number.
    """
    predicted = numbers(first_output(outputs), "the model's first output")
    expected = numbers(target, "targets")
    if predicted.size != expected.size:
        raise TaskError(
            f"a target has as many numbers as the model's first output; "
            f"it has {expected.size}, the output {predicted.size}"
        )
    return predicted, expected


def _absolute_row(outputs: Outputs, target: object) -> Rows:
    predicted, expected = _predictions_and_targets(outputs, target)
    return np.array([np.abs(predicted - expected).sum(), predicted.size])


def _squared_row(outputs: Outputs, target: object) -> Rows:
    predicted, expected = _predictions_and_targets(outputs, target)
    return np.array([np.square(predicted - expected).sum(), predicted.size])


def root_ratio(sums: Rows) -> Rows:
    """Root of the mean (..., 2) -> (...)."""
    return np.sqrt(ratio(sums))


def _single_row(outputs: Outputs, target: object) -> Rows:
    """The single prediction and its target (2,)."""
    predicted, expected = _predictions_and_targets(outputs, target)
    if predicted.size != 1:
        raise TaskError(
            f"a correlation takes one number for each sample; the model gives {predicted.size}. "
            "Write a metric with packlight.metrics.per_dataset"
        )
    return np.concatenate([predicted, expected])


def pearson(rows: Rows) -> float:
    """Correlation of two columns (n, 2); 0 where one of them is constant."""
    if len(rows) < CORRELATED:
        return 0.0
    centered = rows - rows.mean(axis=0)
    spread = np.sqrt(np.square(centered).sum(axis=0)).prod()
    if not spread:
        return 0.0
    return float((centered[:, 0] * centered[:, 1]).sum() / spread)


def spearman(rows: Rows) -> float:
    """Correlation of the ranks of two columns (n, 2); ties share their mean rank."""
    from scipy.stats import rankdata  # noqa: PLC0415  scipy takes long to load

    return pearson(np.asarray(rankdata(rows, axis=0), dtype=np.float64))


VALUE_METRICS = {
    "mae": of_sums("mae", _absolute_row, ratio, higher_is_better=False),
    "rmse": of_sums("rmse", _squared_row, root_ratio, higher_is_better=False),
    "pearson": Metric("pearson", _single_row, pearson, bounded=True),
    "spearman": Metric("spearman", _single_row, spearman, bounded=True),
}
"""Metrics by name."""
