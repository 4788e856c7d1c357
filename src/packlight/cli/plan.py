"""``packlight plan``: feasibility on a device, before training and without data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import judged
from packlight.cli.lessons import advice_parts
from packlight.cli.options import Inputs, Json, OnDevice, OnUnit, ShapeTask
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import UNKNOWN, plain_table, stacked, styled, styled_parts
from packlight.presentation.changes import describe_refusal
from packlight.presentation.numbers import show_named_value
from packlight.records.plan import CHOSEN, RUNTIME, worst

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from packlight.records import Measurement, Plan
    from packlight.records.measurement import Meets

COSTS = {"size": "file", "download": "download", "latency": "latency", "peak_memory": "memory",
         "energy": "energy"}  # fmt: skip
VERDICTS = {"yes": ("fits", "green"), "unclear": ("may fit", "yellow"), "no": ("misses", "red")}
MAX_NAMES = 3
"""Operators that are named for one reason."""

EFFORTS = {"no data": "", "calibration samples": "samples", "many samples": "learning"}


LEGEND = (
    "~: estimate (intervals: --json); sizes without it are exact. samples: needs a few hundred "
    "samples without labels. learning: needs some thousand of them, and PyTorch."
)


ALL_HINT = "No route runs there, so none is listed; --all lists them with what they would cost."


def plan_parts(plan: Plan, *, all_routes: bool = False) -> list[RenderableType]:
    """Recommendation, table of routes, refusals and lessons.

    Args:
        plan: to show.
        all_routes: whether to list routes where none can run.
    """
    head: list[RenderableType] = [
        styled_parts((plan.model, "bold"), f" on {plan.device}: {', '.join(plan.budgets)}"),
        *map(styled, plan.recommendation),
    ]
    if nothing_runs(plan) and not all_routes:
        return [*head, styled(ALL_HINT, style="dim")]
    return [
        *head,
        routes_table(plan),
        styled(LEGEND, style="dim"),
        *refusal_parts(plan),
        *advice_parts(plan.lessons),
    ]


def nothing_runs(plan: Plan) -> bool:
    """Tell if the device runs neither the model nor any route."""
    meets = (plan.meets, *(option.meets for option in plan.options))
    return all(met.get(RUNTIME) == "no" for met in meets)


def routes_table(plan: Plan) -> Table:
    """One row per route."""
    table = plain_table("route", *COSTS.values(), "budgets", "needs")
    table.add_row("as it is", *_cells(plan.original), verdict(plan.meets), "")
    for option in plan.options:
        needs = EFFORTS[option.effort.needs]
        table.add_row(option.name, *_cells(option.predicted), verdict(option.meets), needs)
    return table


def verdict(meets: Mapping[str, Meets]) -> Text:
    """Verdict on all budgets."""
    word, tone = VERDICTS[worst(meets)]
    if meets.get(RUNTIME) == "no":
        return styled("cannot run", style="red")
    return styled(word, style=tone)


def _cells(costs: Mapping[str, Measurement]) -> list[str]:
    return [show_named_value(name, costs[name]) if name in costs else UNKNOWN for name in COSTS]


def refusal_parts(plan: Plan) -> list[RenderableType]:
    """Routes that the device cannot run, operators that ``--set`` skips, and a note on others."""
    routes: dict[str, list[str]] = {}
    skipped: dict[str, list[str]] = {}
    has_other_refusals = False
    for option in plan.options:
        for refusal in option.refusals:
            if not refusal.operator:
                routes.setdefault(refusal.reason, []).append(option.name)
            elif option.name == CHOSEN:
                skipped.setdefault(describe_refusal(refusal), []).append(refusal.operator)
            else:
                has_other_refusals = True
    parts: list[RenderableType] = []
    if routes:
        lines = [f"{reason}: {', '.join(names)}" for reason, names in routes.items()]
        parts.append(stacked("Not available on this device", *lines))
    if skipped:
        lines = [f"{list_names(operators)}: {reason}" for reason, operators in skipped.items()]
        parts.append(stacked("Skipped choices of --set", *lines))
    if has_other_refusals:
        note = "Routes skip some weights, mostly small ones; --json lists them with reasons."
        parts.append(styled(note, style="dim"))
    return parts


def list_names(operators: Sequence[str]) -> str:
    """The first operators by name, and the number of the remaining ones.

    >>> list_names(["a", "b"]), list_names(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    names = ", ".join(operators[:MAX_NAMES])
    if len(operators) > MAX_NAMES:
        return f"{names} and {len(operators) - MAX_NAMES} more"
    return names


PLAN_MODEL_HELP = (
    "Path of an ONNX file, zoo:NAME, or FILE.py:FUNCTION or module:function that returns a PyTorch "
    "network, optionally with its example inputs."
)
BUDGET_HELP = (
    "As size<=2MB, download<=1MB, latency<=8ms, latency<=0.5x, peak_memory<=64MB, energy<=5mJ, "
    "drop<=1%. Repeatable."
)
SET_HELP = "Step for single operators: REGEX=STEP, as conv_3=weights:4, /blocks/=keep. Repeatable."


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
    all_routes: Annotated[
        bool, typer.Option("--all", help="List every route even where the device runs none.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Predict whether a model fits a device, and by which route.

    Needs no data and no training: weights may be random. File sizes are exact; costs that depend on
    the device are estimates with intervals. The device's own limits apply unless a --budget bounds
    the same cost. Without --device, the description closest to this machine is used. The exit code
    is 1 if no route meets every budget.

    \b
    Examples:
      packlight plan model.onnx --budget "size<=4MB" --device pixel-8
      packlight plan net.py:make --input image=1,3,224,224 --device stm32h7
      packlight plan model.onnx --device pixel-8 --set "conv_3=weights:4"
    """
    with working():
        from packlight import plan as plan_model

        result = plan_model(
            model,
            budget or (),
            device,
            task=task,
            inputs=inputs or (),
            unit=unit,
            choices=choices or (),
        )
    if as_json:
        print_json(result)
    else:
        say(screen(), *plan_parts(result, all_routes=all_routes))
        if not device:
            note = "the description closest to this machine"
            say(screen(), f"No --device given: planned for {result.device}, {note}.")
    return judged(passed=result.feasible != "no")
