"""Write a template for a task."""

from __future__ import annotations

from pathlib import Path

from packlight.errors import InputError
from packlight.sources.opening import AnyModel, at_hand
from packlight.task import init_task


def write_task(model: AnyModel, out: Path) -> str:
    """Write a commented task template for a model, and return its name for ``--task``.

    Raises:
        InputError: the model cannot be used, or the file exists or cannot be written.
    """
    with at_hand(model) as (opened,):
        text = init_task(opened.model, out.name)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"'{out}' exists; name another file with -o") from error
    except OSError as error:
        raise InputError(f"'{out}' cannot be written: {error.strerror}") from error
    return f"{out}:task"
