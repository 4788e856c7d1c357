"""Write a template for a task."""

from __future__ import annotations

from pathlib import Path

from packlight.disk import replacing
from packlight.sources.opening import AnyModel, at_hand
from packlight.task import init_task


def write_task(model: AnyModel, out: Path) -> str:
    """Write a commented task template for a model, and return its name for ``--task``.

    Raises:
        InputError: the model cannot be used, or the file exists or cannot be written.
    """
    with at_hand(model) as (opened,):
        text = init_task(opened.model, out.name)
    with replacing(out, overwrite=False) as file:
        file.write(text.encode())
    return f"{out}:task"
