"""``packlight fit``: search for the best version of a model within budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from packlight.cli.tables import counts, notes, results_table, styled, styled_parts
from packlight.presentation.contrasts import headline, worst_sentence
from packlight.presentation.verdict import choice, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from packlight.records import Outcome
    from packlight.search.study import Study

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
        styled(f"{LEGEND} Budgets: {budgets}.", style="dim"),
        *notes((*failures, *outcome.warnings)),
        styled(sentence(outcome), style="bold"),
        *summary(outcome),
        *advice_parts(outcome.lessons),
        counts(paths(outcome)),
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


def paths(outcome: Outcome) -> list[tuple[str, str]]:
    """Paths of the chosen model, the report and the project."""
    rows = [("report", outcome.report), ("project", outcome.project)]
    chosen = choice(outcome)
    if chosen is None:
        return rows
    return [("model", str(Path(outcome.project) / chosen.file)), *rows]


def fit(
    model: ModelName,
    *,
    task: TaskName,
    budget: Annotated[
        list[str],
        typer.Option(
            "--budget",
            metavar="B",
            help="METRIC<=VALUE[UNIT], as 'size<=2MB', 'latency<=0.8x', 'drop<=1%'. Repeatable.",
        ),
    ],
    project: Project = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            metavar="R",
            help=f"Recipe to try instead of the built-in list. {RECIPE_HELP} Repeatable.",
        ),
    ] = None,
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
    """Run the search with progress; after Ctrl-C, say how to resume."""
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
    """Print the outcome; return 0 if every budget is met, else 1."""
    if as_json:
        print_json(study.outcome)
    else:
        console = screen()
        say(console, *outcome_parts(console, study.outcome))
    if study.verdict == "fits":
        return DONE
    return UNMET
