"""The report of a search: the pages of the studio as one file.

The studio stands above this package, so it is loaded by its name.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from packlight.task import Task

OFFLINE = "packlight.studio.offline"


def write_report(project: Path, path: Path, title: str, task: Task | None) -> None:
    """Write the pages of a project as one HTML file that loads nothing.

    Args:
        project: folder whose outcome is committed.
        path: of the file, replaced atomically.
        title: of the pages.
        task: that the variants were judged by, for pictures of samples; None without it.

    Raises:
        InputError: the project cannot be read, or the file cannot be written.
    """
    import_module(OFFLINE).write_report(project, path, title, task)
