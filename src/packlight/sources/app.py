"""The file that names the models of an app and the budgets that they share."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from packlight.errors import InputError
from packlight.records.codec import read
from packlight.sources.opening import ZOO

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
EXAMPLE = (
    'budget = ["size<=3MB"], and for each model [[model]] with name = "faces", '
    'model = "faces.onnx", task = "faces.npz", budget = ["drop<=1%"]'
)


@dataclass(frozen=True, slots=True)
class NamedModel:
    """One model of an app as its file names it.

    Attributes:
        name: of the model in the app, and of its folder.
        model: path, or ``zoo:NAME``.
        task: that measures its quality.
        budget: its own, as ``drop<=1%``.
    """

    TITLE: ClassVar[str] = "[[model]] table"

    name: str
    model: str
    task: str
    budget: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppFile:
    """Models that share budgets.

    Attributes:
        budget: that they share, as ``size<=3MB``.
        models: at least one.
    """

    budget: tuple[str, ...]
    models: tuple[NamedModel, ...]


def read_app(path: Path) -> AppFile:
    """Read the file of an app; paths in it begin at its folder.

    Raises:
        InputError: it cannot be read, or says something else.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"'{path}' is not valid TOML: {error}") from error
    tables = content.get("model", [])
    budget = content.get("budget", [])
    unknown = sorted(set(content) - {"model", "budget"})
    if unknown:
        raise InputError(f"'{path}' has no setting '{unknown[0]}'; it holds {EXAMPLE}")
    if not isinstance(tables, list) or not tables:
        raise InputError(f"'{path}' names no model; it holds {EXAMPLE}")
    if not isinstance(budget, list) or not all(isinstance(text, str) for text in budget):
        raise InputError(f"budget in '{path}' is a list of texts, as [\"size<=3MB\"]")
    models = tuple(_model_of(table, path) for table in tables)
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"models of an app have different names; '{path}' has two '{name}'")
    return AppFile(tuple(budget), models)


def _model_of(table: Any, path: Path) -> NamedModel:
    known = [field.name for field in fields(NamedModel)]
    if not isinstance(table, dict) or not {"name", "model", "task"} <= set(table) <= set(known):
        raise InputError(
            f"each model of '{path}' has name, model, task and maybe budget: {EXAMPLE}"
        )
    try:
        model: NamedModel = read(NamedModel, table)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error
    if not NAME.fullmatch(model.name):
        raise InputError(
            f"the name of a model in '{path}' is also that of its folder: letters, digits, '-', "
            f"'_' and '.'; got '{model.name}'"
        )
    return replace(model, model=_beside(path, model.model), task=_beside(path, model.task))


def _beside(path: Path, text: str) -> str:
    """A path that begins at the folder of the file, where there is such a file."""
    local = path.parent / text
    if not text.startswith(ZOO) and local.exists():
        return str(local)
    return text
