"""What changed between models, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from packlight.cli.contrast_tables import contrast_parts
from packlight.cli.layer_tables import layers_parts
from packlight.cli.lessons import advice_parts
from packlight.cli.tables import UNKNOWN, plain_table, results_table
from packlight.presentation.numbers import show_named, show_named_interval, show_named_value

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from packlight.records import Comparison, VariantResult

LEGEND = (
    "[low, high] are 95 % intervals. A positive drop is worse, on the same samples: in points of "
    "the metric where it lies between 0 and 1, else as a share of the base's value."
)
TIMED = "The latency ratio is the time of one run over the base's, interleaved with it."
DRAWN = "The report draws the inputs of the samples that changed most: --report OUT.html."
FLIPS = (
    "Flips: decisions that were right and are wrong now (lost), the reverse (won), and wrong in "
    "another way (changed). Hit hardest: lost minus won, of groups of any size."
)


def comparison_parts(console: Console, found: Comparison) -> list[RenderableType]:
    """The models beside each other, their flips, and where the report lies."""
    results = (found.base, *found.others)
    measured = "size" in found.base.metrics
    table = results_table(console, results, "", None, judged=False)
    timed = "latency_ratio" in found.base.metrics
    legend = Text(f"{LEGEND} {TIMED}" if timed else LEGEND, style="dim")
    parts: list[RenderableType] = [table, legend] if measured else [quality_table(results)]
    if found.flips:
        parts += [flips_table(found), Text(FLIPS, style="dim")]
    names = {one.id: one.name for one in results}
    for contrast in found.contrasts:
        against = found.base.name if measured else "its reference"
        parts += contrast_parts(contrast, names[contrast.variant], against)
    if any(one.moved for one in found.contrasts) and measured and not found.report:
        parts.append(Text(DRAWN, style="dim"))
    if found.robustness:
        parts += [robustness_table(found), Text(CHANGED, style="dim")]
    for inside in found.layers:
        parts += layers_parts(inside)
    for key, told in found.unlike.items():
        parts.append(Text(f"Not ranked: {names[key]} differs in {'; '.join(told)}", style="yellow"))
    parts += [Text(f"Note: {told}", style="yellow") for told in found.warnings]
    parts += advice_parts(found.lessons)
    places = (("report", found.report), ("samples", found.samples))
    return [*parts, *(f"{what}  {place}" for what, place in places if place)]


def quality_table(results: Sequence[VariantResult]) -> Table:
    """Every metric of models that were judged apart."""
    table = plain_table("metric", *(result.name for result in results))
    for name in dict.fromkeys(name for result in results for name in result.metrics):
        cells = [
            show_named(name, result.metrics[name]) if name in result.metrics else UNKNOWN
            for result in results
        ]
        table.add_row(name, *cells)
    return table


CHANGED = (
    "Drops against the same model on inputs as they are; extra: the model's minus the base's, "
    "positive where it bears less."
)


def robustness_table(found: Comparison) -> Table:
    """What small changes of the inputs cost each model."""
    names = {other.id: other.name for other in found.others}
    heads = ("inputs changed by", "model", "base's drop", "drop", "extra", "interval")
    table = plain_table(*heads, left=2)
    for one in found.robustness:
        numbers = [show_named_value("drop", m) for m in (one.reference, one.drop, one.extra)]
        interval = show_named_interval("drop", one.extra)
        table.add_row(one.change, names[one.variant], *numbers, interval)
    return table


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
