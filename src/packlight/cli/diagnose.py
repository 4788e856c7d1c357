"""``packlight diagnose``: why a variant lost quality, or did not get faster or smaller."""

from __future__ import annotations

from typing import Annotated

import typer

from packlight.cli.ending import DONE
from packlight.cli.options import (
    MODEL_HELP,
    Json,
    OnDevice,
    OnUnit,
    OptionalTask,
    Seconds,
    Seed,
    Threads,
)
from packlight.cli.screen import print_json, say, screen, working


def diagnose(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help=MODEL_HELP)],
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="What was made of it, by any tool.")
    ],
    *,
    task: OptionalTask = "",
    device: OnDevice = "",
    unit: OnUnit = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Samples at most, evenly spread.")
    ] = 32,
    quality: Annotated[
        bool, typer.Option("--quality", help="Quality and size alone: no times.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Say why a variant lost quality, or did not get faster or smaller.

    Each cause is measured: what the outputs gain when it is taken away, or the share of time or
    bytes that it takes. Works on any two models with the same inputs and outputs. Without --task,
    inputs are drawn at random. --device predicts times instead of measuring them here.

    \b
    Examples:
      packlight diagnose model.onnx int8.onnx --task data.npz
      packlight diagnose model.onnx int8.onnx --task data.npz --json
      packlight diagnose model.onnx int4.onnx --device pixel-8
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import diagnose as find_causes

        found = find_causes(
            reference,
            variant,
            task or None,
            device=device,
            unit=unit,
            options=SessionOptions(threads=threads),
            limit=limit,
            seconds=0.0 if quality else seconds,
            seed=seed,
            progress=progress,
        )
    if as_json:
        from packlight import to_json

        print_json([to_json(one) for one in found])
    else:
        from packlight.cli.findings import findings_parts

        say(screen(), *findings_parts(found))
    return DONE
