"""``packlight check``: budgets of a new model against its base, for CI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE, UNMET, judged
from packlight.cli.options import TASK_HELP, Budgets, Json
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import notes, plain_table, styled
from packlight.presentation.gate import base_number, headline, mark, numbers, remark, treatment

if TYPE_CHECKING:
    from rich.console import RenderableType

    from packlight.records import CheckedBudget, Gate
    from packlight.records.export import BundleCheck
    from packlight.runtime.progress import Progress
    from packlight.sources.settings import Settings

TONES = {True: "green", False: "bold red"}
INTERVALS = "[low, high]: 95 % confidence interval."

CheckedModel = Annotated[
    str,
    typer.Argument(
        metavar="BASE",
        help="The reference: a model, or a .json of packlight evaluate --json. A bundle of "
        "packlight export is checked alone.",
    ),
]


def gate_parts(gate: Gate) -> list[RenderableType]:
    """One line for each budget, then the result."""
    table = plain_table("", "budget", "measured", "base", texts=4)
    for checked in gate.budgets:
        result = styled(mark(checked), style=TONES[checked.passed])
        table.add_row(result, checked.budget, numbers(checked), base_number(checked))
    legend = " ".join(filter(None, [INTERVALS, treatment(gate)]))
    remarks = [undecided(checked) for checked in gate.budgets if checked.meets == "unclear"]
    result = styled(headline(gate), TONES[gate.passed])
    return [table, *remarks, styled(legend, style="dim"), *notes(gate.notes), result]


def undecided(checked: CheckedBudget) -> RenderableType:
    """The line on a budget that the samples do not decide."""
    return styled(f"{checked.budget} is {remark(checked)}.", style="yellow")


def exit_code_of(gates: Iterable[Gate]) -> int:
    """0 if every check passed, else 1."""
    if all(gate.passed for gate in gates):
        return DONE
    return UNMET


def check(
    base: CheckedModel,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The model to check.")] = "",
    *,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="T", help=f"{TASK_HELP} Budgets on size need none."),
    ] = None,
    budget: Budgets = None,
    unclear: Annotated[
        str | None,
        typer.Option(
            "--unclear",
            metavar="fail|pass|estimate",
            help="Treatment of a budget that the samples do not decide. [default: fail]",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", metavar="X", help="Widen every bound by this share, as 0.05."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="OUT.xml", help="Also write JUnit XML.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="OUT.md", help="Also write Markdown.")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="F.jsonl", help="Append this run to a file of runs."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="OUT.html", help="Also write an HTML report, with the history."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", min=0)] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, help="Threads of each session. [default: 1]"),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", metavar="S", min=0.01, help="Seconds to measure latency. [default: 2]"
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Check budgets of a new model against its base: one line a budget, exit code 0 or 1.

    Only what a budget bounds is measured. Task, budgets and options that are not given come from
    [tool.packlight] in pyproject.toml, or from packlight.toml.

    \b
    Examples:
      packlight check main.onnx new.onnx --budget "size<=1.02x"
      packlight check main.onnx new.onnx --task data.npz --budget "drop<=1%" --junit out.xml
      packlight check main.json new.json --budget "drop<=1%" --unclear estimate
      packlight check bundle --budget "size<=1.1x"
    """
    if not new:
        return _check_bundle_folder(base, budget or (), as_json=as_json)
    from packlight.sources.settings import find_settings, overridden

    settings = overridden(
        find_settings(Path.cwd()),
        task=task,
        budgets=budget,
        unclear=unclear,
        tolerance=tolerance,
        seed=seed,
        threads=threads,
        seconds=seconds,
    )
    with working() as progress:
        paths = {"junit": junit, "markdown": markdown, "history": history, "report": report}
        gate = _checked(base, new, settings, paths, progress)
    if as_json:
        print_json(gate)
    else:
        say(screen(), *gate_parts(gate))
    return exit_code_of([gate])


def _check_bundle_folder(folder: str, budget: Sequence[str], *, as_json: bool) -> int:
    from packlight.api.check_bundle import check_bundle

    with working():
        checked = check_bundle(folder, budget)
    if as_json:
        print_json(checked)
    else:
        say(screen(), *bundle_check_parts(checked))
    return judged(passed=checked.passed)


def bundle_check_parts(checked: BundleCheck) -> list[RenderableType]:
    """Budgets of a bundle, then what is wrong with it."""
    parts: list[RenderableType] = []
    if checked.budgets:
        table = plain_table("", "budget", "measured", "ONNX file", texts=3)
        for budget in checked.budgets:
            result = styled(mark(budget), style=TONES[budget.passed])
            table.add_row(result, budget.budget, numbers(budget), base_number(budget))
        parts.append(table)
    parts += [undecided(budget) for budget in checked.budgets if budget.meets == "unclear"]
    parts += [styled(f"{problem}.", style="bold red") for problem in checked.problems]
    verdict = "is whole, and keeps its budgets" if checked.passed else "does not pass"
    parts.append(
        styled(f"{checked.folder}, {checked.files} files, {verdict}.", TONES[checked.passed])
    )
    return parts


def _checked(
    base: str, new: str, settings: Settings, paths: Mapping[str, Path | None], progress: Progress
) -> Gate:
    from packlight import check as check_budgets
    from packlight.api.gate_files import (
        GateFiles,
        check_gate_files,
        write_failure,
        write_gate_files,
    )
    from packlight.errors import PacklightError

    files = GateFiles(**paths)
    check_gate_files(files)
    try:
        gate = check_budgets(
            base,
            new,
            settings.budgets,
            settings.task or None,
            unclear=settings.unclear,
            tolerance=settings.tolerance,
            options=settings.session(),
            seed=settings.seed,
            seconds=settings.seconds,
            progress=progress,
        )
    except PacklightError as error:
        write_failure(error, new, files)
        raise
    write_gate_files(gate, files)
    return gate
