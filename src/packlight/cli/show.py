"""``packlight show``: a project, finished or stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packlight.cli.fit import Command, show_study
from packlight.cli.options import Json


def show(
    project: Annotated[
        Path, typer.Argument(metavar="PROJECT", help="Folder that packlight fit or demo wrote.")
    ],
    as_json: Json = False,
) -> int:
    """Show the variants, the choice and the report of a project, finished or stopped.

    Nothing is measured. Exit code 1: no variant surely meets every budget.

    \b
    Example:
      packlight show model-packlight
    """
    from packlight import open_project

    study = open_project(project)
    original = str(project / study.original.record.file)
    return show_study(study, as_json=as_json, command=Command(original, study.outcome.task))
