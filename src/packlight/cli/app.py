"""The table of verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli import (
    check,
    compare,
    compress,
    demo,
    devices,
    diagnose,
    evaluate,
    fit,
    init_task,
    layers,
    lessons,
    plan,
    profile,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typer._click.core import Command

VERBS: dict[str, Callable[..., int]] = {
    "demo": demo.demo,
    "fit": fit.fit,
    "show": show.show,
    "compress": compress.compress,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "check": check.check,
    "layers": layers.layers,
    "diagnose": diagnose.diagnose,
    "profile": profile.profile,
    "plan": plan.plan,
    "init-task": init_task.init_task,
    "lessons": lessons.lessons,
}


def command() -> Command:
    """Build the command line."""
    app = group(packlight, VERBS)
    app.add_typer(group(devices.devices, devices.VERBS), name="devices")
    return typer.main.get_command(app)


def group(start: Callable[..., None], verbs: Mapping[str, Callable[..., int]]) -> typer.Typer:
    """Group commands under one name.

    Args:
        start: function that runs before each command; its docstring is the help.
        verbs: commands by name.
    """
    app = typer.Typer(
        rich_markup_mode=None,  # plain help needs no rich, so that it comes at once
        add_completion=False,
        invoke_without_command=True,
        callback=start,
        help=start.__doc__,
    )
    for name, verb in verbs.items():
        app.command(name)(verb)
    return app


def packlight(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    library: Annotated[
        list[str] | None,
        typer.Option(
            "--library", metavar="OPS", help="Library of custom operators. Repeatable, anywhere."
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Allowed anywhere.")
    ] = False,
) -> None:
    """Fit a trained model to a device: compress, evaluate, compare, choose.

    \b
    Start with:
      packlight demo
    """
    del debug, library  # read by run() before typer sees them
    if version:
        from packlight import __version__

        typer.echo(f"packlight {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
