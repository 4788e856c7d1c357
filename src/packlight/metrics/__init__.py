"""Metrics by name, and functions to write more."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

import numpy as np

from packlight.errors import TaskError
from packlight.metrics.calibration import LOSS_METRICS
from packlight.metrics.classes import CLASS_METRICS, predicted_classes, top_k
from packlight.metrics.fidelity import FIDELITY_METRICS
from packlight.metrics.metric import Metric, Outputs, Rows, first_output, numbers, of_sums, ratio
from packlight.metrics.sequences import error_rate, greedy_ctc
from packlight.metrics.values import VALUE_METRICS

METRICS = {**CLASS_METRICS, **VALUE_METRICS, **LOSS_METRICS, **FIDELITY_METRICS}
"""Metrics by name; ``top`` with any number is a name too."""

__all__ = [
    "FIDELITY_METRICS",
    "METRICS",
    "Metric",
    "Outputs",
    "Rows",
    "error_rate",
    "first_output",
    "greedy_ctc",
    "metric_by_name",
    "of_sums",
    "per_dataset",
    "per_sample",
    "predicted_classes",
    "ratio",
]


def metric_by_name(name: str) -> Metric:
    """Look up a metric.

    Raises:
        TaskError: there is none of this name.

    >>> metric_by_name("top3").name
    'top3'
    """
    top = re.fullmatch(r"top-?([1-9][0-9]*)", name)
    if top:
        return top_k(int(top[1]))
    if name not in METRICS:
        raise TaskError(f"a metric is one of {', '.join(METRICS)} or topK; got '{name}'")
    return METRICS[name]


def per_sample(
    score: Callable[[Outputs, object], float],
    name: str,
    higher_is_better: bool = True,
    bounded: bool = False,
) -> Metric:
    """A metric that is the mean of a function of one sample.

    Args:
        score: outputs by name and the sample's target -> a number.
        name: an identifier.
        higher_is_better: the direction.
        bounded: the numbers lie in [0, 1].
    """

    def row(outputs: Outputs, target: object) -> Rows:
        return np.array([float(score(outputs, target)), 1.0])

    return of_sums(name, row, ratio, higher_is_better=higher_is_better, bounded=bounded)


def per_dataset(
    score: Callable[[Rows, Rows], float],
    name: str,
    higher_is_better: bool = True,
    bounded: bool = False,
) -> Metric:
    """A metric of all samples at once, such as a correlation.

    Args:
        score: first outputs (n, d) and targets (n, t), flattened, as float64 -> a number. A
            bootstrap calls it with repeated samples.
        name: an identifier.
        higher_is_better: the direction.
        bounded: the number lies in [0, 1].
    """

    def row(outputs: Outputs, target: object) -> Rows:
        values = numbers(first_output(outputs), "the model's first output")
        return np.concatenate([[values.size], values, numbers(target, "targets")])

    def total(rows: Rows) -> float:
        width = int(rows[0, 0])
        return float(score(rows[:, 1 : 1 + width], rows[:, 1 + width :]))

    return Metric(name, cast("Callable[[Outputs, object], Rows]", row), total,
                  higher_is_better, bounded)  # fmt: skip
