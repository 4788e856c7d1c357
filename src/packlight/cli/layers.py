"""``packlight layers``: what a variant does inside a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import MODEL_HELP, Json, TaskName, Threads
from packlight.cli.screen import print_json, say, screen, working

Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="Samples at most, evenly spread.")
]


def layers(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help=MODEL_HELP)],
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="What was made of it, by any tool.")
    ],
    *,
    task: TaskName,
    limit: Limit = 200,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Values to show.")] = 12,
    threads: Threads = 1,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="OUT.csv", help="Write a row for each value.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show where inside a model a variant goes wrong.

    Values and weights of both models are matched, whatever was fused, renamed or inserted. Each
    value is compared twice: with all errors before it, and with the error of its operator alone.

    \b
    Example:
      packlight layers model.onnx int8.onnx --task data.npz --csv layers.csv
    """
    with working() as progress:
        from packlight import SessionOptions, compare_layers

        options = SessionOptions(threads=threads)
        found = compare_layers(
            reference, variant, task, options=options, limit=limit, progress=progress
        )
    if csv is not None:
        from packlight.cli.layer_tables import write_csv

        write_csv(found, csv)
    if as_json:
        print_json(found)
    else:
        from packlight.cli.layer_tables import layers_parts

        say(screen(), *layers_parts(found, top))
    return DONE
