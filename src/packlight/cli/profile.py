"""``packlight profile``: where size, arithmetic, memory and time go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packlight.cli.ending import DONE
from packlight.cli.options import (
    Inputs,
    Json,
    MeasuredSeconds,
    MeasuredThreads,
    ModelName,
    OnDevice,
    OnUnit,
    ShapeTask,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.errors import InputError


def profile(
    model: ModelName,
    *,
    task: ShapeTask = None,
    inputs: Inputs = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Operators to show.")] = 15,
    download: Annotated[
        bool, typer.Option("--download", help="Count the bytes of a download too.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the model, and measure where its time goes.")
    ] = False,
    threads: MeasuredThreads = None,
    seconds: MeasuredSeconds = None,
    device: OnDevice = "",
    unit: OnUnit = "",
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="OUT.csv", help="Write a row for each operator."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show where size, arithmetic, memory and time go.

    Operator by operator, counted without running the model: multiply-accumulates (MACs), other
    operations, weights, what is read and written, and the line of Python that each comes from,
    where PyTorch's exporter noted it. --measure runs the model and adds the time that each operator
    takes on this machine, with what ONNX Runtime fused into it. --device adds the time that each
    would take there, and whether arithmetic, memory or the call itself bounds it.

    \b
    Examples:
      packlight profile model.onnx --top 20
      packlight profile model.onnx --input image=1,3,224,224 --csv costs.csv
      packlight profile encoder.onnx --input ids=1,128 --input mask=1,128
      packlight profile model.onnx --measure --threads 2
      packlight profile model.onnx --device pixel-8
    """
    if not measure and (threads, seconds) != (None, None):
        raise InputError("--threads and --seconds say how times are measured; give --measure too")
    with working():
        from packlight import SessionOptions
        from packlight import profile as count

        found = count(
            model,
            task,
            inputs=inputs or (),
            download=download,
            measure=measure,
            device=device,
            unit=unit,
            options=SessionOptions(threads=threads or 1),
            seconds=seconds or 2.0,
        )
    if csv is not None:
        from packlight.cli.operators import write_csv

        write_csv(found, csv)
    if as_json:
        print_json(found)
    else:
        from packlight.cli.operators import profile_parts

        say(screen(), *profile_parts(found, top))
    return DONE
