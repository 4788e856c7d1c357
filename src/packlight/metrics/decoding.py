"""A task's own decoding of outputs, in front of a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from packlight.errors import TaskError
from packlight.metrics.metric import Decisions, Metric, Outputs, Rows

Decode = Callable[[Outputs], object]
"""Outputs of a sample by name -> boxes, scores and classes; or a text; or an array; or outputs."""

DETECTIONS = ("boxes", "scores", "classes")


def with_decode(metric: Metric, decode: Decode) -> Metric:
    """A metric that judges what ``decode`` makes of the outputs."""
    metric_row = metric.row
    metric_decide = metric.decide

    def row(outputs: Outputs, target: object) -> Rows:
        return metric_row(as_outputs(decode(outputs)), target)

    if metric_decide is None:
        return replace(metric, row=row)

    def decide(outputs: Outputs) -> Decisions:
        return metric_decide(as_outputs(decode(outputs)))

    return replace(metric, row=row, decide=decide)


def as_outputs(decoded: object) -> Outputs:
    """What a task's function gives, as outputs by name.

    Raises:
        TaskError: it is of another kind.

    >>> as_outputs("two words")["text"].item()
    'two words'
    """
    if isinstance(decoded, Mapping):
        return {str(name): np.asarray(array) for name, array in decoded.items()}
    if isinstance(decoded, tuple) and len(decoded) == len(DETECTIONS):
        return {name: np.asarray(part) for name, part in zip(DETECTIONS, decoded, strict=True)}
    if isinstance(decoded, str):
        return {"text": np.array(decoded)}
    if isinstance(decoded, np.ndarray | np.generic | int | float):
        return {"decoded": np.asarray(decoded)}
    raise TaskError(
        "decode gives (boxes, scores, classes), a text, an array, or arrays by name; "
        f"it gives {type(decoded).__name__}"
    )
