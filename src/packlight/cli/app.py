"""The table of verbs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typer._click.core import Command

VERBS = (
    "demo",
    "fit",
    "show",
    "studio",
    "report",
    "compress",
    "evaluate",
    "compare",
    "export",
    "check",
    "layers",
    "diagnose",
    "profile",
    "plan",
    "portability",
    "init-task",
    "lessons",
)
"""Verbs; each is a function in a module of its name, which loads when the verb is called."""

DEVICES = "devices"
"""A group of verbs."""


def command(words: Sequence[str] = ()) -> Command:
    """Build the command line.

    Args:
        words: of the command. Where they name a verb, only that one is built: the modules of all
            others would take longer to load than many a command to run.
    """
    called = next((word for word in words if not word.startswith("-")), "")
    names = [called] if called in (*VERBS, DEVICES) else [*VERBS, DEVICES]
    app = group(packlight, {name: load_verb(name) for name in names if name != DEVICES})
    if DEVICES in names:
        from packlight.cli import devices

        app.add_typer(group(devices.devices, devices.VERBS), name=DEVICES)
    return typer.main.get_command(app)


def load_verb(name: str) -> Callable[..., int]:
    """The function of a verb."""
    module = name.replace("-", "_")
    verb: Callable[..., int] = getattr(import_module(f"packlight.cli.{module}"), module)
    return verb


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
