"""What a studio is opened with, and values that are made once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

from packlight.errors import InputError
from packlight.sources.opening import ZOO

T = TypeVar("T")
DATABASE = "packlight.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the studio opens.

    Attributes:
        project: folder of a search; None where only a model is shown.
        models: files or ``zoo:NAME``, shown beside the variants of the project.
        task: that measures quality; that of the search where empty.
        device: that costs are predicted for; the description nearest this machine where empty.
        unit: of the device.
        budget: of a model without a project.
        code: folders whose source files may be shown.
        seconds: to spend on the latency of a recipe that is run.
        title: of the pages; the name of the project's folder where empty.
    """

    project: Path | None = None
    models: tuple[str, ...] = ()
    task: str = ""
    device: str = ""
    unit: str = ""
    budget: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()
    seconds: float = 2.0
    title: str = ""


def settings_for(subject: str, settings: Settings) -> Settings:
    """Settings for a project's folder or for a model.

    Raises:
        InputError: there is neither.
    """
    path = Path(subject)
    if path.is_dir():
        if not (path / DATABASE).is_file():
            raise InputError(
                f"'{path}' is no project of packlight. Name the folder that packlight fit or demo "
                "wrote, or a model"
            )
        return replace(settings, project=path)
    if subject.startswith(ZOO) or path.is_file():
        return replace(settings, models=(subject, *settings.models))
    raise InputError(f"there is no project and no model at '{subject}'")


@dataclass(slots=True)
class Once:
    """Values that are made once for each key, by one thread while others wait."""

    _values: dict[Hashable, object] = field(default_factory=dict)
    _locks: dict[Hashable, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made where there is none."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = make()
            return cast("T", self._values[key])
