"""What ``fit`` found, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from packlight.cli.lessons import advice_parts
from packlight.cli.tables import counts, results_table
from packlight.records.telling import headline, worst_sentence
from packlight.records.verdict import choice, sentence

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from packlight.records import Outcome

LEGEND = (
    "* chosen. [low, high] are 95 % intervals. The latency ratio is the time of one run over the "
    "original's, measured in turns; a positive drop is worse, on the same samples."
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
