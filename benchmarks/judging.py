"""The one judge: dB and metric of a model against the original, in exact arithmetic."""

from __future__ import annotations

from functools import cache

from packlight.evaluation import Reference, evaluate
from packlight.model import Model, load
from packlight.task import Task
from suite import EXACT, SUITE, Case

KEPT = 2 << 30
"""Bytes of the original's outputs that are kept, so that it runs once for all variants."""


@cache
def reference(name: str) -> tuple[Task, Reference]:
    """The task of a case, and the original ready to compare with."""
    chosen = SUITE[name]()
    task = chosen.task()
    return task, Reference(load(chosen.model_path()), task, EXACT, limit=KEPT)


def judge(chosen: Case, model: Model) -> dict[str, float | str]:
    """Fields of a result that say how good a model is."""
    task, beside = reference(chosen.name)
    found = evaluate(model, task, EXACT, reference=beside, variant="variant",
                     reference_id="original").evaluation.metrics  # fmt: skip
    metric = found[task.metric.name]
    return {
        "level": found["snr"].value,
        "metric": metric.value,
        "metric_name": task.metric.name,
        "metric_low": metric.low,
        "metric_high": metric.high,
    }
