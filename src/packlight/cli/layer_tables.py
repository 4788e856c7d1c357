"""What a variant does inside a model, for people and for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from packlight.cli.tables import plain_table
from packlight.errors import InputError
from packlight.presentation.numbers import show_share, show_value

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Layer, Layers

MOST_WEIGHTS, WORST = 8, 12
LEGEND = (
    "snr: signal to noise with all errors before it; own: of the operator alone, fed with the "
    "reference's values; outside: share of the variant's numbers beyond the reference's range. "
    "Exact arithmetic, without what a kernel adds."
)


def layers_parts(found: Layers, top: int = WORST) -> list[RenderableType]:
    """Values that lose most, weights that lose most, and where things go wrong first."""
    first = f"Goes wrong first at {found.first}." if found.first else "Nothing goes wrong."
    parts: list[RenderableType] = [
        Text(f"{found.variant} inside, against {found.reference}", style="bold"),
        layers_table(found, top),
        Text(LEGEND, style="dim"),
        f"{first} {len(found.layers)} values compared on {found.n} samples.",
    ]
    if any(weight.levels for weight in found.weights):
        parts.append(weights_table(found))
    if found.unmatched:
        names = ", ".join(found.unmatched[:WORST])
        parts.append(Text(f"No counterpart: {names}", style="yellow"))
    return [*parts, *(Text(f"Note: {told}", style="yellow") for told in found.notes)]


def layers_table(found: Layers, top: int) -> Table:
    """The values with the largest errors of their own, in the order of the model."""
    worst = sorted(found.layers, key=lambda one: one.own.value)[:top]
    chosen = {id(one) for one in (*worst, *found.layers[-1:])}
    table = plain_table("operator", "type", "snr", "own", "outside", "range", left=2)
    for one in found.layers:
        if id(one) in chosen:
            mark = " *" if one.name == found.first else ""
            table.add_row(
                f"{one.name}{mark}", one.op, show_value(one.snr), show_value(one.own),
                show_share(one.outside.value), f"[{one.low:.3g}, {one.high:.3g}]",
            )  # fmt: skip
    if len(found.layers) > len(chosen):
        table.add_row(f"and {len(found.layers) - len(chosen)} more, with --json or --csv")
    return table


def weights_table(found: Layers) -> Table:
    """The weights with the largest errors."""
    worst = sorted(found.weights, key=lambda one: one.snr.value)[:MOST_WEIGHTS]
    table = plain_table("weight", "shape", "snr", "zeros", "levels", left=2)
    for one in worst:
        shape = " x ".join(map(str, one.shape))
        zeros = show_share(one.variant_zeros)
        table.add_row(one.name, shape, show_value(one.snr), zeros, f"{one.levels:,}")
    return table


HEADINGS = (
    "operator", "type", "value", "counterpart", "snr", "snr_low", "snr_high", "own", "own_low",
    "own_high", "low", "high", "variant_low", "variant_high", "outside", "file", "line", "module",
)  # fmt: skip


def csv_rows(found: Layers) -> Iterator[tuple[object, ...]]:
    """A row for each value."""
    for one in found.layers:
        yield (
            one.name, one.op, one.value, one.counterpart, *levels(one), one.low, one.high,
            one.variant_low, one.variant_high, one.outside.value, *place(one),
        )  # fmt: skip


def levels(one: Layer) -> tuple[float, ...]:
    """Both levels with their intervals."""
    return tuple(end for m in (one.snr, one.own) for end in (m.value, m.low, m.high))


def place(one: Layer) -> tuple[object, ...]:
    """Where an operator comes from."""
    source = one.source
    return ("", "", "") if source is None else (source.file, source.line, source.module)


def write_csv(found: Layers, path: Path) -> None:
    """Write a row for each value.

    Raises:
        InputError: the file is no ``.csv``, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"a table is written to a file whose name ends in .csv; got '{path}'")
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADINGS)
            writer.writerows(csv_rows(found))
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}") from error
