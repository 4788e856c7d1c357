"""A task from Python: ``file.py:callable`` or ``module:callable``."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from packlight.errors import PacklightError, TaskError
from packlight.records.codec import ID_LENGTH
from packlight.task.task import Task


def load_python(text: str) -> Task:
    """Call the function that returns a task.

    Raises:
        TaskError: it is missing, fails, or returns something else.
    """
    source, _, name = text.rpartition(":")
    with user_code(f"task '{text}'"):
        module = load_file(Path(source)) if source.endswith(".py") else load_module(source)
        make = getattr(module, name, None)
        if not callable(make):
            raise TaskError(f"'{source}' must hold a function '{name}'; it has none")
        task = make()
    if not isinstance(task, Task):
        raise TaskError(f"'{text}' must return a packlight.Task; it returns {type(task).__name__}")
    return replace(task, code=_source_digest(module))


def load_file(path: Path) -> ModuleType:
    """Run a Python file as a new module; it may import modules from its folder."""
    if not path.is_file():
        raise TaskError(f"there is no file '{path}'; give the path of a Python file")
    name = f"packlight_task_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:ID_LENGTH]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec.loader.exec_module(module)
    return module


def load_module(name: str) -> ModuleType:
    """Import a module by name.

    Raises:
        TaskError: there is none of this name.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise TaskError(
                f"there is no Python module '{name}'; for a file write FILE.py:task"
            ) from error
        raise


def _source_digest(module: ModuleType) -> str:
    data = b""
    if getattr(module, "__file__", None):
        data = Path(str(module.__file__)).read_bytes()
    return hashlib.sha256(data).hexdigest()[:ID_LENGTH]


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Turn an error in users' code into one sentence with file, line and message.

    Raises:
        TaskError: in place of any other error.
    """
    try:
        yield
    except PacklightError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskError(
            f"{what} fails at {location(error)}: {type(error).__name__}: {error}"
        ) from error


def location(error: BaseException) -> str:
    """File and line of an error: the last frame outside installed packages."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [f for f in frames if "site-packages" not in f.filename
                   and "<frozen" not in f.filename
                   and not f.filename.startswith(sys.base_prefix)]  # fmt: skip
    frame = (user_frames or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"
