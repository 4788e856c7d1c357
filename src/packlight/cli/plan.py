"""``packlight plan``: can it ship, how, what does it cost, before training and before any data."""

from __future__ import annotations

from typing import Annotated

import typer

from packlight.cli.ending import DONE, UNMET
from packlight.cli.options import Inputs, Json, OnDevice, OnUnit, ShapeTask
from packlight.cli.screen import print_json, say, screen, working

PLAN_MODEL_HELP = (
    "Path of an ONNX file, zoo:NAME, or FILE.py:FUNCTION or module:function that returns a PyTorch "
    "network, and its example inputs if it likes."
)
BUDGET_HELP = (
    "As size<=2MB, download<=1MB, latency<=8ms, latency<=0.5x, peak_memory<=64MB, energy<=5mJ, "
    "drop<=1%. Repeatable."
)
SET_HELP = "How single operators are compressed: REGEX=STEP, as conv_3=weights:4, /blocks/=keep."


def plan(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=PLAN_MODEL_HELP)],
    *,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", metavar="B", help=BUDGET_HELP)
    ] = None,
    device: OnDevice = "",
    unit: OnUnit = "",
    inputs: Inputs = None,
    task: ShapeTask = None,
    choices: Annotated[
        list[str] | None, typer.Option("--set", metavar="REGEX=STEP", help=SET_HELP)
    ] = None,
    as_json: Json = False,
) -> int:
    """Say whether a model can ship on a device, and by which route.

    Nothing is trained or run, and no data is needed: weights may be random. Sizes of files are
    exact; what depends on the device is an estimate with its interval. The device's own limits
    count where no --budget bounds the same cost; without --device, the description nearest this
    machine is taken. Ends with code 1 where no route keeps every budget.

    \b
    Examples:
      packlight plan model.onnx --budget "size<=4MB" --device pixel-8
      packlight plan net.py:make --input image=1,3,224,224 --device stm32h7
      packlight plan model.onnx --device pixel-8 --set "conv_3=weights:4"
    """
    with working():
        from packlight import plan as make

        found = make(
            model,
            budget or (),
            device,
            task=task,
            inputs=inputs or (),
            unit=unit,
            choices=choices or (),
        )
    if as_json:
        print_json(found)
    else:
        from packlight.cli.routes import plan_parts

        say(screen(), *plan_parts(found), *([] if device else [nearest(found.device)]))
    return UNMET if found.feasible == "no" else DONE


def nearest(device: str) -> str:
    """That a device was chosen by packlight."""
    return f"No --device was named: {device} is the description nearest to this machine."
