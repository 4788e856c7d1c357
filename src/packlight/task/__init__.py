"""Tasks, which measure the quality of a model, from arrays, images or Python."""

from __future__ import annotations

from pathlib import Path

from packlight.errors import TaskError
from packlight.model.model import Model
from packlight.task.arrays import load_arrays
from packlight.task.declared import check_task
from packlight.task.images import load_images
from packlight.task.python import load_python, user_code
from packlight.task.samples import ArraySamples, LazySamples, Samples, Selection
from packlight.task.table import SampleTable, read_table
from packlight.task.task import Task
from packlight.task.template import init_task

__all__ = [
    "ArraySamples",
    "LazySamples",
    "SampleTable",
    "Samples",
    "Selection",
    "Task",
    "check_task",
    "init_task",
    "load_arrays",
    "load_images",
    "load_python",
    "load_task",
    "read_table",
    "user_code",
]


def load_task(text: str, model: Model) -> Task:
    """Load the task that a text names, and check that it fits the model.

    Args:
        text: path of an ``.npz`` or of a folder of images, ``file.py:callable`` or
            ``module:callable``.
        model: of the task.

    Raises:
        TaskError: there is none, or it does not fit.
    """
    path = Path(text)
    if path.suffix == ".npz":
        task = load_arrays(path, model)
    elif path.is_dir():
        task = load_images(path, model)
    elif ":" in text.rstrip(":"):
        task = load_python(text)
    else:
        raise TaskError(
            "a task is an .npz, a folder of images CLASS/*.png, FILE.py:FUNCTION or zoo:NAME; "
            f"'{text}' is none of these"
        )
    with user_code(f"task '{text}'"):
        return check_task(task, model)
