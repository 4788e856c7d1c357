"""Records as tables that fit into 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from packlight.presentation.numbers import show_named_interval, show_named_value

if TYPE_CHECKING:
    from rich.console import Console

    from packlight.records import Measurement, VariantResult

COSTS = ("size", "download", "latency_ratio", "drop")
HEADS = {"latency_ratio": "latency ratio", "drop": "{metric} drop"}
NAME_ROOM = 22
"""Columns for a name where the window is narrow."""
TONE = {"fits": "green", "undecided": "yellow", "misses": "red", "failed": "red"}
UNKNOWN = "-"
UNLIMITED = 10_000
"""Columns of a window in which every table fits."""


def plain_table(*heads: str, left: int = 1) -> Table:
    """An empty table without lines: the first ``left`` columns are text, the others numbers."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < left else "right", overflow="fold")
    return table


def results_table(
    console: Console,
    results: Sequence[VariantResult],
    metric: str,
    best: str | None,
    *,
    judged: bool,
) -> Table:
    """Variants with what they cost and lose: one line each where that fits, else two.

    Args:
        console: whose width counts.
        results: the original first.
        metric: of the task.
        best: id of the chosen one, marked ``*``.
        judged: whether budgets were asked.
    """
    wide = rows_of(results, metric, best, judged=judged, narrow=False)
    room = console.options.update(width=UNLIMITED)
    if console.measure(wide, options=room).maximum <= console.width:
        return wide
    return rows_of(results, metric, best, judged=judged, narrow=True)


def rows_of(
    results: Sequence[VariantResult], metric: str, best: str | None, *, judged: bool, narrow: bool
) -> Table:
    """The table of what was measured, intervals beside (wide) or below (narrow) their values."""
    known = [name for name in COSTS if any(name in result.metrics for result in results)]
    heads = [HEADS.get(name, name).format(metric=metric).strip() for name in known]
    table = plain_table("", "variant", *heads, *(["budgets"] if judged else []), left=2)
    for result in results:
        cells = [cell(name, result.metrics, narrow=narrow) for name in known]
        verdict = "failed" if result.error else result.verdict
        state = [Text(verdict, style=TONE[verdict])] if judged else []
        chosen = result.id == best
        style = "bold" if chosen else ""
        name = title(result, narrow=narrow)
        table.add_row("*" if chosen else "", name, *cells, *state, style=style)
    return table


def cell(name: str, metrics: Mapping[str, Measurement], *, narrow: bool) -> Text:
    """A number with its interval."""
    if name not in metrics:
        return Text(UNKNOWN)
    interval = show_named_interval(name, metrics[name])
    gap = "" if not interval else "\n" if narrow else " "
    return Text.assemble(show_named_value(name, metrics[name]), gap, (interval, "dim"))


def title(result: VariantResult, *, narrow: bool) -> Text:
    """A variant's name, with its labels after or below it."""
    room = NAME_ROOM if narrow else len(result.name)
    labels = ", ".join(result.labels)
    gap = "" if not labels else "\n  " if narrow else "  "
    return Text.assemble("\n".join(folded(result.name, room)), gap, (labels, "italic"))


def folded(name: str, room: int) -> list[str]:
    """A recipe's name in lines that break before a step and after an option.

    >>> folded("simplify+static,range=percentile+weights:8", 22)
    ['simplify+static,', '  range=percentile', '  +weights:8']
    """
    lines = [""]
    for piece in re.findall(r"\+?[^+,]+,?|.", name):
        if lines[-1] and len(lines[-1]) + len(piece) > room:
            lines.append("  ")
        lines[-1] += piece
    return lines


def counts(numbers: Iterable[tuple[str, str]]) -> Table:
    """Names and what they are, in two columns."""
    table = plain_table("", "", left=2)
    table.show_header = False
    for name, text in numbers:
        table.add_row(name, text)
    return table
