"""``packlight compare``: what changed from one model to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packlight.cli.ending import DONE
from packlight.cli.options import MODEL_HELP, Json, Seconds, Seed, TaskName, Threads
from packlight.cli.screen import print_json, say, screen, working


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help=f"The reference. {MODEL_HELP}")],
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="What it is compared with.")
    ],
    *,
    task: TaskName,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="OUT.html", help="Also write one HTML file."),
    ] = None,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Say what changed from a model to others.

    Whichever tool made them: all are measured in turns and on the same samples. They need the
    same inputs and outputs.

    \b
    Example:
      packlight compare m.onnx int8.onnx int4.onnx --task data.npz --report out.html
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import compare as beside

        found = beside(
            base,
            models,
            task,
            report=report,
            options=SessionOptions(threads=threads),
            seed=seed,
            seconds=seconds,
            progress=progress,
        )
    if as_json:
        print_json(found)
    else:
        from packlight.cli.comparison import comparison_parts

        console = screen()
        say(console, *comparison_parts(console, found))
    return DONE
