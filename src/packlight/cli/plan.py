"""``packlight plan``: can it ship, how, what does it cost, before training and before any data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from packlight.cli.exit_codes import DONE, UNMET
from packlight.cli.lessons import advice_parts
from packlight.cli.options import Inputs, Json, OnDevice, OnUnit, ShapeTask
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import UNKNOWN, plain_table
from packlight.presentation.changes import describe_refusal
from packlight.presentation.numbers import show_named_value
from packlight.records.plan import CHOSEN, RUNTIME, worst

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Measurement, Plan
    from packlight.records.measurement import Meets

COSTS = {"size": "file", "download": "download", "latency": "time", "peak_memory": "memory",
         "energy": "energy"}  # fmt: skip
VERDICTS = {"yes": ("fits", "green"), "unclear": ("may fit", "yellow"), "no": ("misses", "red")}
SHOWN = 3
"""Operators that are named where many have the same reason."""

CANNOT = ("cannot run", "red")
EFFORTS = {"no data": "", "calibration samples": "samples", "training data": "training"}


def plan_parts(found: Plan) -> list[RenderableType]:
    """What to do, every route beside the budgets, and what the figures are."""
    head = Text.assemble((found.model, "bold"), f" on {found.device}: {', '.join(found.budgets)}")
    advice = [Text(sentence) for sentence in found.recommendation]
    return [
        head,
        *advice,
        routes_table(found),
        Text(
            "Sizes without ~ are exact; ~ marks estimates, whose intervals --json has. 'samples': "
            "needs some hundred without labels. 'training': hours, and no method of packlight's "
            "yet.",
            style="dim",
        ),
        *refusals(found),
        *advice_parts(found.lessons),
    ]


def routes_table(found: Plan) -> Table:
    """One line for each route."""
    table = plain_table("route", *COSTS.values(), "budgets", "needs")
    table.add_row("as it is", *cells(found.original), verdict(found.meets), "")
    for option in found.options:
        needs = EFFORTS[option.effort.needs]
        table.add_row(option.name, *cells(option.predicted), verdict(option.meets), needs)
    return table


def verdict(meets: Mapping[str, Meets]) -> Text:
    """Whether all is kept, in a word or two."""
    word, tone = CANNOT if meets.get(RUNTIME) == "no" else VERDICTS[worst(meets)]
    return Text(word, style=tone)


def cells(costs: Mapping[str, Measurement]) -> list[str]:
    """What a route costs; the time as a number, for ratios are in the advice."""
    return [show_named_value(name, costs[name]) if name in costs else UNKNOWN for name in COSTS]


def refusals(found: Plan) -> list[RenderableType]:
    """Why routes cannot be taken on the device; what they leave alone is in the record."""
    barred: dict[str, list[str]] = {}
    for option in found.options:
        for refusal in option.refusals:
            if not refusal.operator:
                barred.setdefault(refusal.reason, []).append(option.name)
    routes = [option for option in found.options if option.name != CHOSEN]
    left = sum(1 for option in routes for refusal in option.refusals if refusal.operator)
    lines = [f"{reason}: {', '.join(names)}" for reason, names in barred.items()]
    parts = [Text("Not on this device\n" + "\n".join(lines))] if lines else []
    note = "Routes leave some weights as they are, mostly small ones: --json says which and why."
    return [*parts, *not_as_chosen(found), *([Text(note, style="dim")] if left else [])]


def not_as_chosen(found: Plan) -> list[RenderableType]:
    """Operators that the user chose a step for and that it leaves as they are, and why."""
    places: dict[str, list[str]] = {}
    for option in found.options:
        for left in option.refusals if option.name == CHOSEN else ():
            if left.operator:
                places.setdefault(describe_refusal(left), []).append(left.operator)
    lines = [f"{named(operators)}: {sentence}" for sentence, operators in places.items()]
    return [Text("Not as chosen\n" + "\n".join(lines))] if lines else []


def named(operators: Sequence[str]) -> str:
    """Some operators by name, and how many more there are.

    >>> named(["a", "b"]), named(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    more = f" and {len(operators) - SHOWN} more" if len(operators) > SHOWN else ""
    return ", ".join(operators[:SHOWN]) + more


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
        say(screen(), *plan_parts(found), *([] if device else [nearest(found.device)]))
    return UNMET if found.feasible == "no" else DONE


def nearest(device: str) -> str:
    """That a device was chosen by packlight."""
    return f"No --device was named: {device} is the description nearest to this machine."
