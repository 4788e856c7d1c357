"""Arguments and options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL_HELP = "Path of an ONNX file, or zoo:NAME."
TASK_HELP = "data.npz, a folder of images, FILE.py:FUNCTION, module:function, or zoo:NAME."

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
INPUT_HELP = "Shape of an input with open dimensions, as image=1,3,224,224. Repeatable."

DEVICE_HELP = "A name or alias of `devices list`, or the path of a .toml or .json file."

OnDevice = Annotated[str, typer.Option("--device", metavar="D", help=DEVICE_HELP)]
OnUnit = Annotated[str, typer.Option("--unit", metavar="U", help="Of the device: cpu, gpu or npu.")]
Inputs = Annotated[list[str] | None, typer.Option("--input", metavar="N=DIMS", help=INPUT_HELP)]
ShapeTask = Annotated[
    str | None,
    typer.Option("--task", metavar="T", help=f"Whose first sample gives shapes: {TASK_HELP}"),
]
OptionalTask = Annotated[str, typer.Option("--task", metavar="T", help=TASK_HELP)]
TaskName = Annotated[str, typer.Option("--task", metavar="T", help=TASK_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print the record as JSON, nothing else.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of everything random.")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Of each session.")]
Seconds = Annotated[
    float,
    typer.Option("--seconds", metavar="S", min=0.01, help="To spend on the latency of each model."),
]
MeasuredThreads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", min=1, help="Of the session that is measured: 1."),
]
MeasuredSeconds = Annotated[
    float | None, typer.Option("--seconds", metavar="S", min=0.01, help="To spend on measuring: 2.")
]
Samples = Annotated[
    Path | None,
    typer.Option(
        "--samples", metavar="OUT.csv", help="Also write a row for every sample (.csv or .parquet)."
    ),
]
Project = Annotated[
    Path | None,
    typer.Option("--project", metavar="DIR", help="Where results are kept."),
]
RECIPE_HELP = (
    "A preset (quick8 or quick4 without data; best8, best6, best4, best3 or sparse4 with --task), "
    "steps joined by '+', as in simplify+weights:4,block=32, or the path of a .toml or .json file."
)
