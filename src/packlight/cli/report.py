"""``packlight report``: the pages of a project as one offline file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import OptionalTask


def report(
    project: Annotated[
        Path, typer.Argument(metavar="PROJECT", help="Folder that packlight fit or demo wrote.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT.html", help="File to write.")
    ] = Path("report.html"),
    task: OptionalTask = "",
) -> int:
    """Write the pages of packlight studio as one HTML file that loads nothing.

    It can be mailed or kept with the model. Choices cannot be combined in it, and nothing can be
    run.

    \b
    Example:
      packlight report packlight-demo -o fashion.html
    """
    from packlight.studio.offline import check_report_path, write_offline
    from packlight.studio.workspace import Settings, settings_for

    check_report_path(out)
    write_offline(settings_for(str(project), Settings(task=task)), out)
    typer.echo(f"report  {out}")
    return DONE
