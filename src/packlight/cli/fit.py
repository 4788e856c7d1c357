"""``packlight fit``: search for the best version of a model within budgets."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE, UNMET, Stopped, one_line, resumable
from packlight.cli.lessons import advice_parts
from packlight.cli.options import (
    MODEL_HELP,
    RECIPE_HELP,
    Json,
    OnUnit,
    OptionalTask,
    Project,
    Seconds,
    Seed,
    Threads,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import counts, notes, results_table, styled, styled_parts
from packlight.errors import InputError
from packlight.presentation.app import app_sentences
from packlight.presentation.contrasts import headline, worst_sentence
from packlight.presentation.exploration import exploration_sentences
from packlight.presentation.numbers import show_named_value
from packlight.presentation.printable import printable
from packlight.presentation.verdict import choice, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType
    from rich.text import Text

    from packlight.records import Outcome
    from packlight.records.exploration import Goal
    from packlight.records.outcome import VariantResult
    from packlight.search.parallel import Backend
    from packlight.search.study import Result, Study


class GoalName(StrEnum):
    """What a search seeks within the budgets."""

    balance = "balance"
    size = "size"
    latency = "latency"
    quality = "quality"
    energy = "energy"


class BackendName(StrEnum):
    """Back ends of ``--jobs``."""

    loky = "loky"
    ray = "ray"
    dask = "dask"


LEGEND = (
    "* chosen. [low, high]: 95 % confidence interval. Latency ratio: latency over the original's, "
    "measured interleaved. A positive drop is worse; drops are paired on the same samples."
)


def outcome_parts(console: Console, outcome: Outcome) -> list[RenderableType]:
    """Table, notes, verdict, causes, lessons and paths."""
    results = outcome.variants
    failures = [f"{result.name} failed: {result.error}" for result in results if result.error]
    budgets = ", ".join(limit.text for limit in outcome.budget.all())
    return [
        results_table(console, results, outcome.metric, outcome.best, judged=True),
        styled(" ".join([LEGEND, *device_legend(outcome), f"Budgets: {budgets}."]), style="dim"),
        *notes((*failures, *outcome.warnings)),
        *(styled(f"Note: {text}") for text in outcome.notes),
        *stopped_note(outcome),
        styled(sentence(outcome), style="bold"),
        *summary(outcome),
        *map(styled, exploration_sentences(outcome.exploration)),
        *advice_parts(outcome.lessons),
        counts(paths(outcome)),
    ]


def device_legend(outcome: Outcome) -> list[str]:
    """Sentence about predictions for a device; nothing without one."""
    if not outcome.device:
        return []
    return [
        f"Predicted for {outcome.device}, as plan does: device latency, memory and energy. The "
        "latency ratio was measured here, on files that calibration samples may have changed, so "
        "plan's sizes can differ."
    ]


def summary(outcome: Outcome) -> list[RenderableType]:
    """Significance, worst group and main causes; the report has more."""
    parts: list[RenderableType] = []
    for contrast in outcome.contrasts:
        parts.append(headline(contrast))
        if contrast.worst is not None:
            parts.append(worst_sentence(contrast))
    causes = [cause for cause in outcome.findings if cause.severity != "note"]
    for cause in causes[:MAX_CAUSES]:
        text = f"{cause.cause} ({cause.severity}): {cause.sentence}. Next: {cause.next_step}."
        parts.append(styled_parts(("Why: ", "bold"), text))
    return parts


MAX_CAUSES = 3


def stopped_note(outcome: Outcome) -> list[Text]:
    """Note on a search that was stopped; nothing for a finished one."""
    if outcome.finished:
        return []
    return notes([
        f"the search was stopped after {len(outcome.variants)} of {outcome.planned} variants; the "
        "same fit command goes on with it"
    ])  # fmt: skip


def paths(outcome: Outcome) -> list[tuple[str, str]]:
    """Paths of the chosen model, the report and the project."""
    rows = [("report", outcome.report), ("project", outcome.project)]
    chosen = choice(outcome)
    rows = [(name, path) for name, path in rows if path]
    if chosen is None:
        return rows
    return [("model", str(Path(outcome.project) / chosen.file)), *rows]


def fit(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help=MODEL_HELP)] = "",
    *,
    task: OptionalTask = "",
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="B",
            help="METRIC<=VALUE[UNIT], as 'size<=2MB', 'latency<=0.8x', 'drop<=1%'. Repeatable.",
        ),
    ] = None,
    app: Annotated[
        Path | None,
        typer.Option(
            "--app",
            metavar="APP.toml",
            help="Several models that share budgets, in place of MODEL, --task and --budget.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT.onnx", help="Copy of the chosen variant."),
    ] = None,
    project: Project = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            metavar="R",
            help=f"Recipe to try instead of a search. {RECIPE_HELP} Repeatable.",
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="D",
            help="Device name (packlight devices) or description file. Repeatable: all must fit.",
        ),
    ] = None,
    unit: OnUnit = "",
    goal: Annotated[
        GoalName | None,
        typer.Option(
            "--for",
            help="What to seek within the budgets. Default: quality where no floor is set, else "
            "balance (size times latency).",
        ),
    ] = None,
    time: Annotated[
        str, typer.Option("--time", metavar="T", help="Time for the search, as 10m or 90s.")
    ] = "",
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Variants made and evaluated at a time.")
    ] = 1,
    backend: Annotated[
        BackendName,
        typer.Option(
            "--backend", help="Where: processes of this machine, or a Ray or Dask cluster."
        ),
    ] = BackendName.loky,
    allow_slower: Annotated[
        bool, typer.Option("--allow-slower", help="Allow a variant that was measured slower.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Find the best version of a model within budgets.

    The project folder (default: MODEL-packlight) keeps every measurement: the same command resumes
    after an interruption, and a changed budget measures nothing twice. --threads is of the sessions
    that are measured; recipes are applied on all cores.

    \b
    Example:
      packlight fit m.onnx --task data.npz --budget "size<=2MB" --budget "drop<=1%" -o small.onnx
      packlight fit --app app.toml
    """
    if app is not None:
        check_app_alone(model, task, budget, out, recipe, device, goal, time)
        return fit_app(app, project, seed=seed, threads=threads, seconds=seconds, as_json=as_json)
    check_complete(model, task, budget)
    folder = project or Path(f"{Path(model.removeprefix('zoo:')).stem}-packlight")
    try:
        study = search(
            model,
            task,
            budget or (),
            folder,
            out=out,
            recipes=recipe or (),
            devices=device or (),
            unit=unit,
            goal=goal.value if goal else None,
            time=time,
            jobs=jobs,
            backend=backend.value,
            allow_slower=allow_slower,
            seed=seed,
            threads=threads,
            seconds=seconds,
        )
    except Stopped:
        if not as_json:
            show_partial(folder)
        raise
    return show_study(study, as_json=as_json, command=Command(model, task, seed, out))


def check_complete(model: str, task: str, budget: Sequence[str] | None) -> None:
    """Refuse a search that lacks a part, in the words of a missing argument.

    Raises:
        InputError: the model, the task or the budgets are missing.
    """
    for value, name in ((model, "argument 'MODEL'"), (task, "option '--task'"),
                        (budget, "option '--budget'")):  # fmt: skip
        if not value:
            raise InputError(
                f"Missing {name}. packlight fit takes MODEL, --task and --budget, or --app. See: "
                "packlight fit --help"
            )


def check_app_alone(*others: object) -> None:
    """Refuse what an app's search has no use for.

    Raises:
        InputError: something was given.
    """
    if any(others):
        raise InputError(
            "--app names models, tasks and budgets, and takes no MODEL, --task, --budget, --out, "
            "--recipe, --device, --for or --time"
        )


def fit_app(
    app: Path, project: Path | None, *, seed: int, threads: int, seconds: float, as_json: bool
) -> int:
    """Search for variants of several models; return 0 if every budget is met, else 1."""
    folder = project or Path(f"{app.stem}-packlight")
    with resumable(folder), working() as progress:
        import packlight

        study = packlight.fit_app(
            app,
            folder,
            options=packlight.SessionOptions(threads=threads),
            seed=seed,
            seconds=seconds,
            progress=progress,
            on_result=result_lines(),
        )
    if as_json:
        print_json(study.outcome)
    else:
        say(screen(), *map(styled, app_sentences(study.outcome)))
    if study.verdict in ("fits", "unjudged"):
        return DONE
    return UNMET


def search(
    model: str,
    task: str,
    budget: Sequence[str],
    project: Path,
    *,
    out: Path | None = None,
    recipes: Sequence[str] = (),
    devices: Sequence[str] = (),
    unit: str = "",
    goal: Goal | None = None,
    time: str = "",
    jobs: int = 1,
    backend: Backend = "loky",
    allow_slower: bool = False,
    seed: int = 0,
    threads: int = 1,
    seconds: float = 2.0,
) -> Study:
    """Run the search with progress; after Ctrl-C, say how to resume."""
    with resumable(project), working() as progress:
        from packlight import SessionOptions, fit

        return fit(
            model,
            task,
            budget,
            project,
            out=out,
            recipes=recipes,
            device=devices,
            unit=unit,
            goal=goal,
            time=time or 0.0,
            jobs=jobs,
            backend=backend,
            options=SessionOptions(threads=threads),
            allow_slower=allow_slower,
            seed=seed,
            seconds=seconds,
            progress=progress,
            on_result=result_lines(),
        )


def result_lines() -> Callable[[VariantResult, int, int], None]:
    """Print a line on stderr for each finished variant where there is no terminal to draw on."""
    from packlight.search.trials import ignore_result

    if sys.stderr.isatty():
        return ignore_result
    return print_result_line


BEST_RECIPE = "best.toml"
"""File of a project with the recipe of the chosen variant."""

LINE = {"size": "size", "latency_ratio": "latency", "drop": "drop"}
"""Measurements in a line, with their names there."""


def print_result_line(result: VariantResult, number: int, total: int) -> None:
    """Print name, costs, drop and verdict of a finished variant on stderr."""
    shown = [
        f"{name} {show_named_value(measured, result.metrics[measured])}"
        for measured, name in LINE.items()
        if measured in result.metrics
    ]
    state = "failed" if result.error else result.verdict
    line = f"[{number}/{total}] {result.name}: {', '.join([*shown, state])}"
    print(one_line(line), file=sys.stderr, flush=True)


def show_partial(project: Path) -> None:
    """Print the variants of a stopped search, if any was finished."""
    from packlight import open_project

    with suppress(InputError):
        console = screen()
        say(console, *outcome_parts(console, open_project(project).outcome))


@dataclass(frozen=True, slots=True)
class Command:
    """Arguments of a search that the command of its result repeats.

    Attributes:
        model: as it was named.
        task: as it was named.
        seed: of everything random.
        out: path of the copy; None where none was asked.
    """

    model: str
    task: str
    seed: int = 0
    out: Path | None = None

    def again(self, result: Result) -> str:
        """The command that makes a variant again."""
        recipe = result.name
        if result.recipe.is_by_site:
            recipe = str(result.project / BEST_RECIPE)
        parts = ["packlight", "compress", self.model, "--recipe", recipe]
        if result.uses_data:
            parts += ["--task", self.task]
        if self.seed:
            parts += ["--seed", str(self.seed)]
        return shlex.join([*parts, "-o", str(self.out or "small.onnx")])


def show_study(study: Study, *, as_json: bool, command: Command | None = None) -> int:
    """Print the outcome; return 0 if every budget is met, else 1.

    Args:
        study: to show.
        as_json: whether to print the record alone.
        command: of the search, to print how the chosen variant is made again.
    """
    if as_json:
        print_json(study.outcome)
    else:
        console = screen()
        say(console, *outcome_parts(console, study.outcome))
        best = study.best
        if command is not None and best is not None and best.record.recipe:
            if command.out is not None:
                print(f"Written: {printable(str(command.out))}")
            again = printable(command.again(best))
            print(f"The same file again:\n  {again}")
    if study.verdict == "fits":
        return DONE
    return UNMET
