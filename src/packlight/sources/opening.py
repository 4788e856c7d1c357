"""What the user names -> models and tasks, with untrusted files opened in a child first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packlight import zoo
from packlight.errors import InputError, ModelError
from packlight.model import Model, file_size, load, stored_files, stored_size
from packlight.model.write import outside_files
from packlight.runtime import unchanged, vet
from packlight.task import Task, load_task

ZOO = "zoo:"
"""What names of models that came with packlight begin with."""


def is_code(text: str) -> bool:
    """Whether a text names a function, as FILE.py:FUNCTION or module:function, not a file."""
    place, _, name = text.rpartition(":")
    return bool(place) and name.isidentifier() and place != "zoo" and not Path(text).exists()


AnyModel = str | Path | Model
AnyTask = str | Path | Task


@dataclass(frozen=True, slots=True)
class Opened:
    """A model with the file it came from.

    Attributes:
        model: as a value.
        path: of its file.
    """

    model: Model
    path: Path


def open_model(text: str | Path, *, runs: bool = True) -> Opened:
    """The model that a path or ``zoo:NAME`` names.

    Args:
        text: the path or the name.
        runs: whether the model is run afterwards; see ``runtime.vet``.

    Raises:
        ModelError: the file cannot be used.
        InputError: the zoo has no such model.
    """
    name = str(text)
    if name.startswith(ZOO):
        path = zoo.model_path(name.removeprefix(ZOO))
        return Opened(load(path), path)
    path = Path(name)
    vet(path, runs=runs)
    model = load(path)
    if not unchanged(path):
        raise ModelError(f"'{path}' changed while it was read; wait until it is written")
    return Opened(model, path)


def open_task(text: str, model: Model) -> Task:
    """The task that a text names, once it fits the model.

    Raises:
        TaskError: there is none, or it does not fit.
        InputError: the zoo has no such task.
    """
    if not text:
        raise InputError("a task is needed: --task data.npz, FOLDER, file.py:function or zoo:NAME")
    if text.startswith(ZOO):
        return zoo.task(text.removeprefix(ZOO))
    return load_task(text, model)


def task_for(task: AnyTask, model: Model) -> Task:
    """The task that is named, once it fits the model."""
    return task if isinstance(task, Task) else open_task(str(task), model)


@dataclass(frozen=True, slots=True)
class Source:
    """What a recipe is applied to.

    Attributes:
        model: as a value.
        size: bytes of its file, external data included.
        files: that it is read from, which nothing may be written over.
    """

    model: Model
    size: int
    files: frozenset[Path]

    @classmethod
    def of(cls, opened: Opened) -> Source:
        """What a file gives."""
        return cls(opened.model, stored_size(opened.path), stored_files(opened.path))


def source_of(model: AnyModel, *, runs: bool) -> Source:
    """A model with the files behind it; a value's weights may still lie in some."""
    if isinstance(model, Model):
        return Source(model, file_size(model.graph), outside_files(model))
    return Source.of(open_model(model, runs=runs))
