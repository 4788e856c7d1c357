"""What changed between models, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from packlight.cli.tables import plain_table, results_table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from packlight.records import Comparison

LEGEND = (
    "[low, high] are 95 % intervals. The latency ratio is the time of one run over the base's, "
    "measured in turns; a positive drop is worse, on the same samples."
)
FLIPS = (
    "Flips: decisions that were right and are wrong now (lost), the reverse (won), and wrong in "
    "another way (changed)."
)


def comparison_parts(console: Console, found: Comparison) -> list[RenderableType]:
    """The models beside each other, their flips, and where the report lies."""
    results = (found.base, *found.others)
    table = results_table(console, results, "", None, judged=False)
    parts: list[RenderableType] = [table, Text(LEGEND, style="dim")]
    if found.flips:
        parts += [flips_table(found), Text(FLIPS, style="dim")]
    parts += [Text(f"Note: {told}", style="yellow") for told in found.warnings]
    return [*parts, f"report  {found.report}"] if found.report else parts


def flips_table(found: Comparison) -> Table:
    """How many decisions changed, model by model."""
    names = {other.id: other.name for other in (found.base, *found.others)}
    table = plain_table("model", "lost", "won", "changed", "of", "hit hardest")
    for flips in found.flips:
        worst = max(flips.by_group.items(), key=lambda item: item[1], default=("", 0.0))
        hardest = f"{worst[0]} ({worst[1]:+.1%})" if worst[1] > 0 else "-"
        numbers = [f"{n:,}" for n in (flips.lost, flips.won, flips.changed, flips.n)]
        table.add_row(names[flips.variant], *numbers, hardest)
    return table
