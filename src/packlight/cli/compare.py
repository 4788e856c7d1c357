"""``packlight compare``: what changed from one model to others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import MODEL_HELP, Json, OptionalTask, Samples, Seconds, Seed, Threads
from packlight.cli.screen import print_json, say, screen, working
from packlight.errors import InputError

if TYPE_CHECKING:
    from packlight.records import Comparison

SAVED = ".json"


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help=f"The reference. {MODEL_HELP}")],
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="What it is compared with.")
    ],
    *,
    task: OptionalTask = "",
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="OUT.html", help="Also write one HTML file."),
    ] = None,
    samples: Samples = None,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    quality: Annotated[
        bool,
        typer.Option("--quality", help="Size and quality alone: no latency, no memory, no report."),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also compare values and weights inside the models.")
    ] = False,
    robust: Annotated[
        bool, typer.Option("--robustness", help="Also compare drops under small changes of inputs.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Say what changed from a model to others: for whom, and how surely.

    Models may come from any tool: all are measured on the same samples, interleaved. They need the
    same inputs and outputs. Instead of models it takes what evaluate --json printed, without
    --task, and ranks what was judged under the same conditions.

    \b
    Examples:
      packlight compare m.onnx int8.onnx int4.onnx --task data.npz --report out.html
      packlight compare m.onnx int8.onnx --task data.npz --samples samples.csv
      packlight compare here.json there.json
    """
    if not task:
        return shown(saved(base, *models), as_json=as_json)
    with working() as progress:
        from packlight import SessionOptions
        from packlight import compare as beside

        found = beside(
            base,
            models,
            task,
            report=report,
            samples=samples,
            options=SessionOptions(threads=threads),
            seed=seed,
            seconds=seconds,
            costs=not quality,
            layers=layers,
            robust=robust,
            progress=progress,
        )
    return shown(found, as_json=as_json)


def saved(*names: str) -> Comparison:
    """Evaluations that were saved, beside each other.

    Raises:
        InputError: these are models, which take a task.
    """
    if not all(name.endswith(SAVED) for name in names):
        raise InputError(
            "models are compared on the samples of a task: give --task. Without one, compare takes "
            "evaluations that were saved as .json"
        )
    from packlight.api.compare import compare_saved

    return compare_saved(names)


def shown(found: Comparison, *, as_json: bool) -> int:
    """A comparison on the screen."""
    if as_json:
        print_json(found)
    else:
        from packlight.cli.compare_tables import comparison_parts

        console = screen()
        say(console, *comparison_parts(console, found))
    return DONE
