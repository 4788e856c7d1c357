"""Arguments and options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL_HELP = "Path of an ONNX file, or zoo:NAME."
TASK_HELP = "data.npz, a folder of images, FILE.py:FUNCTION, module:function, or zoo:NAME."

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Reference = Annotated[str, typer.Argument(metavar="REFERENCE", help=MODEL_HELP)]
VariantModel = Annotated[
    str, typer.Argument(metavar="VARIANT", help="A model made from it, by any tool.")
]
Limit = Annotated[
    int,
    typer.Option("--limit", metavar="N", min=1, help="Maximum number of samples, evenly spread."),
]
INPUT_HELP = "Shape of an input with dynamic dimensions, as image=1,3,224,224. Repeatable."

DEVICE_HELP = "Name or alias from `devices list`, or the path of a .toml or .json file."

OnDevice = Annotated[str, typer.Option("--device", metavar="D", help=DEVICE_HELP)]
OnUnit = Annotated[
    str, typer.Option("--unit", metavar="U", help="Unit of the device: cpu, gpu or npu.")
]
Inputs = Annotated[list[str] | None, typer.Option("--input", metavar="N=DIMS", help=INPUT_HELP)]
ShapeTask = Annotated[
    str | None,
    typer.Option("--task", metavar="T", help=f"Take shapes from its first sample: {TASK_HELP}"),
]
OptionalTask = Annotated[str, typer.Option("--task", metavar="T", help=TASK_HELP)]
TaskName = Annotated[str, typer.Option("--task", metavar="T", help=TASK_HELP)]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="B",
        help="METRIC<=VALUE[UNIT], as 'size<=2MB', 'latency<=0.8x', 'drop<=1%'; exit code 1 if one "
        "is missed or unclear. Repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON record, nothing else.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Random seed.")]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, help="Threads of each session.")
]
CompressThreads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="Threads of sessions, linear algebra and kernels. [default: 1 for sessions, else all]",
    ),
]
Seconds = Annotated[
    float,
    typer.Option(
        "--seconds", metavar="S", min=0.01, help="Seconds of latency measurement per model."
    ),
]
MeasuredThreads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Threads of the measured session. [default: 1]"
    ),
]
MeasuredSeconds = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", min=0.01, help="Seconds to measure. [default: 2]"),
]
Samples = Annotated[
    Path | None,
    typer.Option(
        "--samples", metavar="OUT.csv", help="Also write one row per sample (.csv or .parquet)."
    ),
]
Project = Annotated[
    Path | None,
    typer.Option("--project", metavar="DIR", help="Folder for models, results and report."),
]
RECIPE_HELP = (
    "A preset (quick8 or quick4 without data; best8, best6, best4, best3 or sparse4 with --task), "
    "steps joined by '+', as simplify+weights:4,block=32, or the path of a .toml or .json file."
)
