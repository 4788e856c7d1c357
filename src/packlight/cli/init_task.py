"""``packlight init-task``: a task template."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import Json, ModelName
from packlight.cli.screen import print_json, say, screen, working


def init_task(
    model: ModelName,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="Python file to write.")
    ] = Path("task.py"),
    as_json: Json = False,
) -> int:
    """Write a task template to fill in.

    The template runs on random data; replace the data with yours.

    \b
    Example:
      packlight init-task model.onnx -o task.py
      packlight evaluate model.onnx --task task.py:task
    """
    with working():
        from packlight.api.init_task import write_task

        name = write_task(model, out)
    if as_json:
        print_json({"file": str(out), "task": name})
    else:
        say(screen(), f"Fill in {out}, then: packlight evaluate {model} --task {name}")
    return DONE
