"""``packlight evaluate``: how good a model is."""

from __future__ import annotations

from typing import Annotated

import typer

from packlight.cli.ending import DONE
from packlight.cli.options import Json, ModelName, Samples, Seed, TaskName, Threads
from packlight.cli.screen import print_json, say, screen, working


def evaluate(
    model: ModelName,
    *,
    task: TaskName,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="MODEL", help="What drop and flips are against."),
    ] = None,
    samples: Samples = None,
    seed: Seed = 0,
    threads: Threads = 1,
    as_json: Json = False,
) -> int:
    """Measure how good a model is.

    In all and by group, with 95 % intervals.

    \b
    Examples:
      packlight evaluate model.onnx --task data.npz
      packlight evaluate smaller.onnx --task data.npz --reference model.onnx
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import evaluate as judge

        options = SessionOptions(threads=threads)
        found = judge(
            model, task, reference=reference, samples=samples, options=options, seed=seed,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(found)
    else:
        from packlight.cli.quality import quality_parts

        say(screen(), *quality_parts(found))
    return DONE
