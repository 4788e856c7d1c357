"""Compare two models layer by layer, from any tool."""

from __future__ import annotations

from packlight.layers import layers as compare_by_layer
from packlight.records import Layers, SessionOptions
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search.external_models import check_alike
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for

MOST_SAMPLES = 200
"""Samples that are run, evenly spread."""


def compare_layers(
    reference: AnyModel,
    variant: AnyModel,
    task: AnyTask,
    *,
    options: SessionOptions = DEFAULT_SESSION,
    limit: int = MOST_SAMPLES,
    progress: Progress = silent,
) -> Layers:
    """Compare values and weights inside two models, operator by operator.

    Args:
        reference: the model that it was made from.
        variant: made by any tool, with the same inputs and outputs.
        task: its samples are run.
        options: of the sessions, whose arithmetic is always exact.
        limit: samples at most, evenly spread.
        progress: told what is being done.

    Raises:
        InputError: a model or the task cannot be used, or the models are not alike.
    """
    with at_hand(reference, variant) as (first, second):
        check_alike(first.model, second.model, second.model.name)
        return compare_by_layer(
            first.model,
            second.model,
            task_for(task, first.model),
            options,
            limit=limit,
            progress=lambda done, total: progress("evaluating", done, total),
        )
