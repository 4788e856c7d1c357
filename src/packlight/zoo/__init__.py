"""A small real model with real labeled data, to try everything offline."""

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
        choices = ", ".join(f"zoo:{choice}" for choice in NAMES)
        raise InputError(f"the zoo has {choices}; there is no 'zoo:{name}'")
    return Path(str(resources.files("packlight.zoo"))) / "data" / f"{name}{suffix}"


def model_path(name: str) -> Path:
    """The ONNX file of a model of the zoo."""
    return data_path(name, ".onnx")


def licenses() -> str:
    """Licenses of all models and data of the zoo."""
    folder = Path(str(resources.files("packlight.zoo"))) / "data"
    return (folder / "LICENSES.txt").read_text("utf-8")


def task(name: str) -> Task:
    """The labeled data of a model of the zoo."""
    model = load(model_path(name))
    arrays = load_arrays(data_path(name, ".npz"), model)
    return check_task(replace(arrays, name=f"zoo:{name}"), model)
