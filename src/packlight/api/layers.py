"""Compare two models inside, wherever they come from."""

from __future__ import annotations

from packlight.layers import layers as look_inside
from packlight.records import Layers, SessionOptions
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search.adopted import check_alike
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for

MOST = 200
"""Samples that are looked at inside, evenly spread."""


def compare_layers(
    reference: AnyModel,
    variant: AnyModel,
    task: AnyTask,
    *,
    options: SessionOptions = DEFAULT_SESSION,
    limit: int = MOST,
    progress: Progress = silent,
) -> Layers:
    """What a variant does to values and weights inside a model, operator by operator.

    Args:
        reference: the model that it was made of.
        variant: with the same inputs and outputs, made by whichever tool.
        task: whose samples are run.
        options: of the sessions, whose arithmetic is always exact.
        limit: samples at most, evenly spread.
        progress: told what is being done.

    Raises:
        InputError: a model or the task cannot be used, or the models are not alike.
    """
    with at_hand(reference, variant) as (first, second):
        check_alike(first.model, second.model, second.model.name)
        return look_inside(
            first.model,
            second.model,
            task_for(task, first.model),
            options,
            limit=limit,
            progress=lambda done, total: progress("evaluating", done, total),
        )
