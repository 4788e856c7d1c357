"""``packlight fit``: search for the best version of a model that fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from packlight.cli.exit_codes import DONE, UNMET, resumable
from packlight.cli.lessons import advice_parts
from packlight.cli.options import (
    RECIPE_HELP,
    Json,
    ModelName,
    Project,
    Seconds,
    Seed,
    TaskName,
    Threads,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import counts, results_table
from packlight.presentation.contrasts import headline, worst_sentence
from packlight.presentation.verdict import choice, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from packlight.records import Outcome
    from packlight.search.study import Study

LEGEND = (
    "* chosen. [low, high] are 95 % intervals. The latency ratio is the time of one run over the "
    "original's, interleaved with it; a positive drop is worse, on the same samples."
)


def outcome_parts(console: Console, found: Outcome) -> list[RenderableType]:
    """The table, remarks, the verdict in words, and where everything lies."""
    table = results_table(console, found.variants, found.metric, found.best, judged=True)
    failed = [f"{result.name} failed: {result.error}" for result in found.variants if result.error]
    remarks = [Text(f"Note: {told}", style="yellow") for told in (*failed, *found.warnings)]
    asked = ", ".join(limit.text for limit in found.budget.all())
    return [
        table,
        Text(f"{LEGEND} Budgets: {asked}.", style="dim"),
        *remarks,
        Text(sentence(found), style="bold"),
        *summary(found),
        *advice_parts(found.lessons),
        counts(places(found)),
    ]


def summary(found: Outcome) -> list[RenderableType]:
    """For whom it changed and why, in short; the report has the rest."""
    told: list[RenderableType] = []
    for one in found.contrasts:
        told.append(headline(one))
        told += [worst_sentence(one)] if one.worst is not None else []
    grave = [cause for cause in found.findings if cause.severity != "note"]
    for cause in grave[:MOST_CAUSES]:
        why = Text.assemble(("Why: ", "bold"), f"{cause.cause} ({cause.severity}): ")
        told.append(Text.assemble(why, f"{cause.sentence}. Next: {cause.next_step}."))
    return told


MOST_CAUSES = 3


def places(found: Outcome) -> list[tuple[str, str]]:
    """Where the chosen model, the report and everything else lie."""
    chosen = choice(found)
    model = [("model", str(Path(found.project) / chosen.file))] if chosen else []
    return [*model, ("report", found.report), ("project", found.project)]


def fit(
    model: ModelName,
    *,
    task: TaskName,
    budget: Annotated[
        list[str],
        typer.Option(
            "--budget",
            metavar="B",
            help="METRIC<=VALUE[UNIT], as in 'size<=2MB', 'latency<=0.8x', 'drop<=1%'. "
            "May be repeated.",
        ),
    ],
    project: Project = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            metavar="R",
            help=f"Try this instead of the built-in list. {RECIPE_HELP} May be repeated.",
        ),
    ] = None,
    allow_slower: Annotated[
        bool, typer.Option("--allow-slower", help="May choose what was measured slower.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Search for the best version of a model that fits its budgets.

    Everything measured is kept in the project folder (MODEL-packlight unless named), so the
    same command goes on where it was stopped, and a changed budget measures nothing twice.

    \b
    Example:
      packlight fit m.onnx --task data.npz --budget "size<=2MB" --budget "drop<=1%"
    """
    folder = project or Path(f"{Path(model.removeprefix('zoo:')).stem}-packlight")
    study = search(
        model,
        task,
        budget,
        folder,
        recipes=recipe or (),
        allow_slower=allow_slower,
        seed=seed,
        threads=threads,
        seconds=seconds,
    )
    return show_study(study, as_json=as_json)


def search(
    model: str,
    task: str,
    budget: Sequence[str],
    project: Path,
    *,
    recipes: Sequence[str] = (),
    allow_slower: bool = False,
    seed: int = 0,
    threads: int = 1,
    seconds: float = 2.0,
) -> Study:
    """The search, with progress, and with a word on how to go on after Ctrl-C."""
    with resumable(project), working() as progress:
        from packlight import SessionOptions, fit

        return fit(
            model,
            task,
            budget,
            project,
            recipes=recipes,
            options=SessionOptions(threads=threads),
            allow_slower=allow_slower,
            seed=seed,
            seconds=seconds,
            progress=progress,
        )


def show_study(study: Study, *, as_json: bool) -> int:
    """Print what was found; the exit code that says whether it fits."""
    if as_json:
        print_json(study.outcome)
    else:
        console = screen()
        say(console, *outcome_parts(console, study.outcome))
    return DONE if study.verdict == "fits" else UNMET
