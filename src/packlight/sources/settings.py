"""Settings of a repository: ``[tool.packlight]`` in pyproject.toml, or ``packlight.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from packlight.errors import InputError
from packlight.records import SessionOptions, Unclear
from packlight.records.codec import read

OWN_FILE = "packlight.toml"
PROJECT_FILE = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults of ``packlight check`` and of the pytest fixture.

    Attributes:
        task: samples and metric; a relative path starts at the folder of the settings file.
        budgets: as ``size<=2MB``.
        unclear: treatment of undecided budgets.
        tolerance: share by which bounds are widened.
        seconds: of latency measurement.
        threads: of each session.
        seed: of everything random.
    """

    TITLE: ClassVar[str] = "[tool.packlight] table"

    task: str = ""
    budgets: tuple[str, ...] = ()
    unclear: Unclear = "fail"
    tolerance: float = 0.0
    seconds: float = 2.0
    threads: int = 1
    seed: int = 0

    def session(self) -> SessionOptions:
        """Options of every session."""
        return SessionOptions(threads=self.threads)


def overridden(settings: Settings, **given: object) -> Settings:
    """Replace the settings that a command line gives; None leaves one as it is."""
    changed = {name: value for name, value in given.items() if value is not None}
    return replace(settings, **changed)  # type: ignore[arg-type]


def find_settings(folder: Path) -> Settings:
    """Read the settings of a folder, or of the nearest folder above it that has any.

    ``packlight.toml`` comes before ``pyproject.toml`` in the same folder.

    Raises:
        InputError: a file cannot be read, or a setting is unknown or of a wrong type.
    """
    for place in (folder, *folder.resolve().parents):
        for path in (place / OWN_FILE, place / PROJECT_FILE):
            table = _table_of(path)
            if table is not None:
                return _settings_from(table, path)
    return Settings()


def _table_of(path: Path) -> dict[str, Any] | None:
    """The settings in a file; None if it has none."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"'{path}' is not valid TOML: {error}") from error
    if path.name == OWN_FILE:
        return content
    tools = content.get("tool", {})
    if not isinstance(tools, dict):
        return None
    return tools.get("packlight")


def _settings_from(table: object, path: Path) -> Settings:
    if not isinstance(table, dict):
        raise InputError(f"[tool.packlight] in '{path}' is a table of settings")
    unknown = sorted(set(table) - {field.name for field in fields(Settings)})
    if unknown:
        known = ", ".join(field.name for field in fields(Settings))
        raise InputError(f"'{path}' has no setting '{unknown[0]}'; there are {known}")
    try:
        settings: Settings = read(Settings, table)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error
    local = path.parent / settings.task
    if settings.task and local.exists():
        return replace(settings, task=str(local))
    return settings
