"""Metrics by name, and functions to write more."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

import numpy as np

from packlight.errors import TaskError
from packlight.metrics.classes import CLASS_METRICS, predicted_classes, top_k
from packlight.metrics.decoding import Decode, with_decode
from packlight.metrics.detection import DETECTION_METRICS
from packlight.metrics.extra import check_installed
from packlight.metrics.fidelity import FIDELITY_METRICS
from packlight.metrics.images import IMAGE_METRICS
from packlight.metrics.masks import MASK_METRICS
from packlight.metrics.metric import Metric, Outputs, Rows, first_output, numbers, of_sums, ratio
from packlight.metrics.probabilities import LOSS_METRICS
from packlight.metrics.scores import FUNCTION, PREFIX, SCORE_METRICS, sklearn_metric
from packlight.metrics.sequences import error_rate, greedy_ctc
from packlight.metrics.texts import TEXT_METRICS
from packlight.metrics.values import VALUE_METRICS

METRICS = {
    **CLASS_METRICS, **VALUE_METRICS, **LOSS_METRICS, **DETECTION_METRICS, **MASK_METRICS,
    **TEXT_METRICS, **IMAGE_METRICS, **SCORE_METRICS, **FIDELITY_METRICS,
}  # fmt: skip
"""Metrics by name; ``top`` with any number and ``sklearn:FUNCTION`` are names too."""

__all__ = [
    "FIDELITY_METRICS",
    "METRICS",
    "Metric",
    "Outputs",
    "Rows",
    "check_installed",
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


def metric_by_name(name: str, decode: Decode | None = None) -> Metric:
    """Look up a metric.

    Args:
        name: of the table, ``topK``, or ``sklearn:FUNCTION[,OPTION=VALUE]...``, whose prefix may be
            left out.
        decode: outputs of a sample by name -> what the metric compares: (boxes, scores, classes)
            for a detector, a text, an array; None to take the outputs as they are.

    Raises:
        TaskError: there is none of this name.

    >>> metric_by_name("top3").name
    'top3'
    """
    metric = _named_metric(name)
    if decode is None:
        return metric
    return with_decode(metric, decode)


def _named_metric(name: str) -> Metric:
    top = re.fullmatch(r"top-?([1-9][0-9]*)", name)
    if top:
        return top_k(int(top[1]))
    if name in METRICS:
        return METRICS[name]
    if name.startswith(PREFIX) or FUNCTION.fullmatch(name.partition(",")[0]):
        return sklearn_metric(name)
    raise TaskError(
        f"a metric is one of {', '.join(METRICS)}, topK or sklearn:FUNCTION; got '{name}'"
    )


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
