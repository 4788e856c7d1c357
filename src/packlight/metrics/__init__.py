"""Metrics by name, and how to write others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

import numpy as np

from packlight.errors import TaskError
from packlight.metrics.calibration import LOSS_METRICS
from packlight.metrics.classes import CLASS_METRICS, choose, top_k
from packlight.metrics.fidelity import FIDELITY_METRICS
from packlight.metrics.metric import Metric, Outputs, Rows, numbers, of_sums, primary, ratio
from packlight.metrics.sequences import error_rate, greedy_ctc
from packlight.metrics.values import VALUE_METRICS

METRICS = {**CLASS_METRICS, **VALUE_METRICS, **LOSS_METRICS, **FIDELITY_METRICS}
"""Every metric that has a name; ``top`` with any number is one too."""

__all__ = [
    "FIDELITY_METRICS",
    "METRICS",
    "Metric",
    "Outputs",
    "Rows",
    "choose",
    "error_rate",
    "greedy_ctc",
    "named",
    "of_sums",
    "per_sample",
    "primary",
    "ratio",
    "whole",
]


def named(name: str) -> Metric:
    """The metric of this name.

    Raises:
        TaskError: there is none.

    >>> named("top3").name
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


def whole(
    score: Callable[[Rows, Rows], float],
    name: str,
    higher_is_better: bool = True,
    bounded: bool = False,
) -> Metric:
    """A metric of all samples at once, as a correlation.

    Args:
        score: first outputs (n, d) and targets (n, t), flattened, as float64 -> a number. It
            must stand drawing samples again, so that some occur twice and others not.
        name: an identifier.
        higher_is_better: the direction.
        bounded: the number lies in [0, 1].
    """

    def row(outputs: Outputs, target: object) -> Rows:
        values = numbers(primary(outputs), "the model's first output")
        return np.concatenate([[values.size], values, numbers(target, "targets")])

    def total(rows: Rows) -> float:
        width = int(rows[0, 0])
        return float(score(rows[:, 1 : 1 + width], rows[:, 1 + width :]))

    return Metric(name, cast("Callable[[Outputs, object], Rows]", row), total,
                  higher_is_better, bounded)  # fmt: skip
