"""A small real model with real labelled data, so that everything can be tried offline."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

from packlight.errors import InputError
from packlight.model import load
from packlight.task import Task, check_task, load_arrays

NAMES = ("fashion",)


def data_path(name: str, suffix: str) -> Path:
    """A file of the zoo.

    Raises:
        InputError: there is no model of this name.
    """
    if name not in NAMES:
        raise InputError(f"the zoo has {', '.join(f'zoo:{known}' for known in NAMES)}; "
                         f"there is no 'zoo:{name}'")  # fmt: skip
    return Path(str(resources.files("packlight.zoo"))) / "data" / f"{name}{suffix}"


def model_path(name: str) -> Path:
    """The ONNX file of a model of the zoo."""
    return data_path(name, ".onnx")


def task(name: str) -> Task:
    """The labelled data of a model of the zoo."""
    model = load(model_path(name))
    found = load_arrays(data_path(name, ".npz"), model)
    return check_task(replace(found, name=f"zoo:{name}"), model)
