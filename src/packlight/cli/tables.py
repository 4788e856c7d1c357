"""Tables that fit into 80 columns, and notes."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Literal, TypeVar

from packlight.disk import replacing
from packlight.errors import InputError
from packlight.presentation.numbers import show_named_interval, show_named_value
from packlight.presentation.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from packlight.records import Measurement, VariantResult

T = TypeVar("T")

COSTS = (
    "size", "download", "latency_ratio", "device_latency", "device_peak_memory", "device_energy",
    "drop",
)  # fmt: skip
HEADS = {
    "latency_ratio": "latency ratio", "device_latency": "device latency",
    "device_peak_memory": "memory", "device_energy": "energy", "drop": "{metric} drop",
}  # fmt: skip
ON_SCREEN = 5
"""Columns of numbers that fit into 80 columns."""
IF_ASKED = {"download": "download", "device_energy": "energy"}
"""Columns that are left out where there are more and no budget names them."""

NAME_WIDTHS = (22, 18, 14, 11)
"""Columns for a name in a narrow terminal; the first with which no word breaks."""
TONE = {"fits": "green", "undecided": "yellow", "misses": "red", "failed": "red"}
UNKNOWN = "-"
VERDICTS = {"unjudged": UNKNOWN}
UNLIMITED = 10_000
"""Width at which no table is cut."""


def plain_table(*heads: str, texts: int = 1) -> Table:
    """An empty table without lines: the first ``texts`` columns are text, all others numbers."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for index, head in enumerate(heads):
        justify: Literal["left", "right"] = "right"
        if index < texts:
            justify = "left"
        table.add_column(head, justify=justify, overflow="fold")
    return table


def styled(text: str, style: str = "") -> Text:
    """A printable text in a style; rich loads when a command prints, not for ``--help``."""
    from rich.text import Text

    return Text(printable(text), style=style)


def styled_parts(*parts: str | Text | tuple[str, str]) -> Text:
    """A printable text of parts, each plain or with its style; see ``new_line``."""
    from rich.text import Text

    texts = [(part,) if isinstance(part, str) else part for part in parts]
    return Text.assemble(*(styled(*text) if isinstance(text, tuple) else text for text in texts))


def new_line() -> Text:
    """A line break of ours; those in names are written out."""
    from rich.text import Text

    return Text("\n")


def stacked(*lines: str | Text) -> Text:
    """Texts one below the other."""
    return new_line().join(styled(line) if isinstance(line, str) else line for line in lines)


def notes(sentences: Iterable[str]) -> list[Text]:
    """Notes below a table."""
    return [styled(f"Note: {sentence}", style="yellow") for sentence in sentences]


def unless_unknown(show: Callable[[T], str], value: T | None) -> str:
    """A value as text; a dash where it is unknown.

    >>> unless_unknown(str, 3), unless_unknown(str, None)
    ('3', '-')
    """
    if value is None:
        return UNKNOWN
    return show(value)


def write_rows(path: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV.

    Raises:
        InputError: the file is no ``.csv``, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"a table is written to a file whose name ends in .csv; got '{path}'")
    with replacing(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)
        text.detach()


def results_table(
    console: Console,
    results: Sequence[VariantResult],
    metric: str,
    best: str | None,
    *,
    judged: bool,
) -> Table:
    """Costs and drop of each variant: one line each where they fit, else two.

    Args:
        console: the terminal.
        results: the original first.
        metric: of the task.
        best: id of the chosen variant, marked ``*``.
        judged: whether to show verdicts.
    """
    wide = rows_of(results, metric, best, judged=judged)
    room = console.options.update(width=UNLIMITED)
    if console.measure(wide, options=room).maximum <= console.width:
        return wide
    for width in NAME_WIDTHS:
        narrow = rows_of(results, metric, best, judged=judged, name_width=width)
        if console.measure(narrow, options=room).maximum <= console.width:
            break
    return narrow


def rows_of(
    results: Sequence[VariantResult],
    metric: str,
    best: str | None,
    *,
    judged: bool,
    name_width: int = 0,
) -> Table:
    """The table with intervals right of their values, or below these where names are folded.

    Args:
        results: a row for each.
        metric: of the task.
        best: id of the chosen variant.
        judged: whether there are budgets.
        name_width: at which names are folded; 0 leaves them whole.
    """
    narrow = name_width > 0
    costs = [name for name in COSTS if any(name in result.metrics for result in results)]
    if len(costs) > ON_SCREEN:
        asked = " ".join(text for result in results for text in result.meets)
        costs = [name for name in costs if name not in IF_ASKED or IF_ASKED[name] in asked]
    heads = [HEADS.get(name, name).format(metric=metric).strip() for name in costs]
    table = plain_table("", "variant", *heads, *(["budgets"] if judged else []), texts=2)
    for result in results:
        row = [title(result, name_width)]
        row += [cell(name, result.metrics, narrow=narrow) for name in costs]
        if judged:
            verdict = "failed" if result.error else result.verdict
            row.append(styled(VERDICTS.get(verdict, verdict), style=TONE.get(verdict, "")))
        if result.id == best:
            table.add_row("*", *row, style="bold")
        else:
            table.add_row("", *row)
    return table


def cell(name: str, metrics: Mapping[str, Measurement], *, narrow: bool) -> Text:
    """A number with its interval."""
    if name not in metrics:
        return styled(UNKNOWN)
    number = show_named_value(name, metrics[name])
    interval = show_named_interval(name, metrics[name])
    if not interval:
        return styled(number)
    return styled_parts(number, new_line() if narrow else " ", (interval, "dim"))


def title(result: VariantResult, width: int) -> Text:
    """A variant's name, with its labels after it, or below the name folded at a width."""
    name = styled(result.name)
    gap = styled("  ")
    if width:
        name = stacked(*fold_recipe(result.name, width))
        gap = stacked("", "  ")
    if not result.labels:
        return name
    return styled_parts(name, gap, (", ".join(result.labels), "italic"))


def fold_recipe(name: str, width: int) -> list[str]:
    """A recipe's name in lines that break before a step and after an option.

    >>> fold_recipe("simplify+static,range=percentile+weights:8", 22)
    ['simplify+static,', '  range=percentile', '  +weights:8']
    """
    lines = [""]
    for piece in re.findall(r"\+?[^+,]+,?|.", name):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("  ")
        lines[-1] += piece
    return lines


def counts(numbers: Iterable[tuple[str, str]]) -> Table:
    """Names and values in two columns."""
    table = plain_table("", "", texts=2)
    table.show_header = False
    for name, text in numbers:
        table.add_row(name, text)
    return table
