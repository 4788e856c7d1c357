"""``packlight compress``: apply a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.ending import DONE
from packlight.cli.options import RECIPE_HELP, TASK_HELP, Json, ModelName, Seed, Threads
from packlight.cli.screen import print_json, say, screen, working

if TYPE_CHECKING:
    from packlight.workflow import Made


def compress(
    model: ModelName,
    *,
    recipe: Annotated[str, typer.Option("--recipe", metavar="R", help=RECIPE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="File to write.")],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="T", help=f"For calibration samples: {TASK_HELP}"),
    ] = None,
    seed: Seed = 0,
    threads: Threads = 1,
    as_json: Json = False,
) -> int:
    """Apply a recipe to a model.

    Says what changed and what was left as it is, and never writes over its input.

    \b
    Examples:
      packlight compress model.onnx --recipe tidy+weights:8 -o smaller.onnx
      packlight compress model.onnx --recipe best4 --task data.npz -o smallest.onnx
      packlight compress model.onnx --recipe static --task data.npz -o int8.onnx
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import compress as make

        options = SessionOptions(threads=threads)
        made = make(model, recipe, out, task=task, options=options, seed=seed, progress=progress)
    show_made(made, as_json=as_json)
    return DONE


def show_made(made: Made, *, as_json: bool) -> None:
    """Print what a recipe made."""
    if as_json:
        print_json(made.variant)
    else:
        from packlight.cli.changes import made_parts

        say(screen(), *made_parts(made))
