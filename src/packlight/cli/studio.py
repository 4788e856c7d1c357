"""``packlight studio``: look at a project or a model in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import Budgets, OnDevice, OnUnit, OptionalTask
from packlight.errors import InputError

if TYPE_CHECKING:
    from packlight.studio.server import Studio

HERE = Path()
LOOPBACK = "127.0.0.1"
INSTALL = "the studio needs starlette and uvicorn: pip install 'packlight[studio]'"


def studio(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="[PROJECT|MODEL]",
            help="Folder that packlight fit or demo wrote, or an ONNX file or zoo:NAME.",
        ),
    ] = ".",
    *,
    task: OptionalTask = "",
    also: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="A further model to show. Repeatable."),
    ] = None,
    budget: Budgets = None,
    device: OnDevice = "",
    unit: OnUnit = "",
    code: Annotated[
        list[Path] | None,
        typer.Option(
            "--code",
            metavar="DIR",
            help="Folder whose Python files may be shown. Repeatable. [default: this folder]",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="H", help="Address to listen on.")
    ] = LOOPBACK,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0 for a free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the address in a browser.")] = True,
) -> int:
    """Look at a project or a model in a browser: what to ship, what if, what changed.

    Only this machine can reach it, and only with the token in the address that is printed. Ctrl-C
    stops it; everything is in the project.

    \b
    Example:
      packlight studio packlight-demo
    """
    try:
        from packlight.studio.serving import serve
    except ModuleNotFoundError as error:
        raise InputError(INSTALL) from error
    from packlight.studio.workspace import Settings, settings_for

    settings = Settings(
        models=tuple(also or ()),
        task=task,
        device=device,
        unit=unit,
        budget=tuple(budget or ()),
        code=tuple(code or [HERE]),
    )

    def started(running: Studio) -> None:
        typer.echo(f"packlight studio is at {running.address}")
        typer.echo("Ctrl-C stops it.")
        if browser:
            import webbrowser

            webbrowser.open(running.address)

    serve(settings_for(subject, settings), host, port, started)
    return DONE
