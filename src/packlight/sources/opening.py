"""Open the models and tasks that users name, untrusted files first in a child process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packlight import zoo
from packlight.disk import scratch_folder
from packlight.errors import InputError, ModelError
from packlight.model import Model, file_size, save, stored_files, stored_size
from packlight.model import load as read_model
from packlight.model.save import outside_files
from packlight.runtime import is_vetted, vet
from packlight.task import Task, load_task

ZOO = "zoo:"
"""Prefix of models that ship with packlight."""

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
    """Open the model at a path or ``zoo:NAME``.

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
        return Opened(read_model(path), path)
    path = Path(name)
    vet(path, runs=runs)
    model = read_model(path)
    if not is_vetted(path):
        raise ModelError(f"'{path}' changed while it was read; wait until it is written")
    return Opened(model, path)


def open_task(text: str, model: Model) -> Task:
    """Load a task by name and check that it fits the model.

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
    """Return a task as it is, or open the one that is named."""
    if isinstance(task, Task):
        return task
    return open_task(str(task), model)


def task_or_none(task: AnyTask | None, model: Model) -> Task | None:
    """The task of ``task_for``; None where none is named."""
    if task is None:
        return None
    return task_for(task, model)


@dataclass(frozen=True, slots=True)
class Source:
    """Model that a recipe is applied to.

    Attributes:
        model: as a value.
        size: bytes of its file, external data included.
        files: that it is read from; never overwritten.
    """

    model: Model
    size: int
    files: frozenset[Path]

    @classmethod
    def of(cls, opened: Opened) -> Source:
        """Source of an opened file."""
        return cls(opened.model, stored_size(opened.path), stored_files(opened.path))


def source_of(model: AnyModel, *, runs: bool) -> Source:
    """Open a model with its files; a ``Model`` in memory may still read weights from some."""
    if isinstance(model, Model):
        return Source(model, file_size(model.graph), outside_files(model))
    return Source.of(open_model(model, runs=runs))


def load(model: str | Path) -> Model:
    """Read a model; an untrusted file is first opened in a child process.

    Args:
        model: path of an ONNX file, or ``zoo:NAME``.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    return open_model(model).model


@contextmanager
def at_hand(*models: AnyModel) -> Iterator[list[Opened]]:
    """Open each model; a ``Model`` in memory is first written to a temporary folder."""
    with scratch_folder() as folder:
        yield [_open_or_write(model, folder / f"{i}.onnx") for i, model in enumerate(models)]


def _open_or_write(model: AnyModel, path: Path) -> Opened:
    if not isinstance(model, Model):
        return open_model(model)
    save(model, path)
    return Opened(model, path)
