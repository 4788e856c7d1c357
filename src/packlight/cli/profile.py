"""``packlight profile``: where size, arithmetic and memory go."""

from __future__ import annotations

from typing import Annotated

import typer

from packlight.cli.ending import DONE
from packlight.cli.options import TASK_HELP, Json, ModelName
from packlight.cli.screen import print_json, say, screen, working


def profile(
    model: ModelName,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="T", help=f"Whose first sample gives shapes: {TASK_HELP}"),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Operators to show.")] = 15,
    as_json: Json = False,
) -> int:
    """Show where size, arithmetic and memory go.

    Operator by operator, counted without running the model.

    \b
    Example:
      packlight profile model.onnx --top 20
    """
    with working():
        from packlight import profile as count

        found = count(model, task)
    if as_json:
        print_json(found)
    else:
        from packlight.cli.operators import profile_parts

        say(screen(), *profile_parts(found, top))
    return DONE
