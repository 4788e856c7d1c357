"""Where a model's costs lie, for people and for spreadsheets."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from packlight.cli.tables import UNKNOWN, counts, plain_table
from packlight.errors import InputError
from packlight.profile import short_names
from packlight.records import OperatorCost, Profile, SourceLine
from packlight.records.reading import show_bytes, show_named

SHARED = ("macs", "other_ops", "weight_bytes", "activation_bytes")
MOST = 5
"""Notes, and operators that are not known, to show."""

ROOM, CUT = 30, ".."
"""Columns for the line that an operator comes from, and what stands for what is left out."""

STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
LABELS = {
    "macs": "MACs",
    "other_ops": "other operations",
    "weight_bytes": "weights",
    "loaded_bytes": "weights once loaded",
    "size": "file",
    "peak_activation_bytes": "activations at most",
    "arena_bytes": "in one block",
}


def profile_parts(found: Profile, top: int) -> list[RenderableType]:
    """Totals, the operators that take the largest shares, and what is not known."""
    left = len(found.operators) - top
    note = f"{left:,} more operators: --top {len(found.operators)}" if left > 0 else ""
    return [
        counts(total_rows(found)),
        operators_table(found, top),
        *([Text(note, style="dim")] if note else []),
        *first(found.notes, "notes", "dim"),
        *first([f"Not counted: {told}" for told in found.unknown], "not counted", "yellow"),
    ]


def first(told: Iterable[str], what: str, style: str) -> list[Text]:
    """The first of some sentences, and how many are left."""
    lines = [Text(line, style=style) for line in told]
    more = len(lines) - MOST
    return [*lines[:MOST], *([Text(f"and {more} more {what}, with --json")] if more > 0 else [])]


def total_rows(found: Profile) -> Iterator[tuple[str, str]]:
    """Totals as they read best, and what they were counted for."""
    for name, m in found.totals.items():
        bound = "at least " if m.how == "estimated" else ""
        text = show_named(name, m) if m.unit == "B" else short(m.value)
        same = name == "loaded_bytes" and m == found.totals["weight_bytes"]
        if name == "peak_activation_bytes" and found.peak_operator:
            text += f", at {found.peak_operator}"
        if not same:
            yield (
                LABELS.get(name, name),
                bound + text if m.value else "not known" if bound else text,
            )
    for name, sizes in found.inputs.items():
        yield f"input {name}", " x ".join("?" if n is None else str(n) for n in sizes) or "1 number"


def operators_table(found: Profile, top: int) -> Table:
    """The operators with the largest share of anything, in the order they run."""
    costs = {name: [getattr(one, name) for one in found.operators] for name in SHARED}
    whole = {name: sum(values) or 1 for name, values in costs.items() if None not in values}

    def share(one: OperatorCost) -> float:
        return max(float(getattr(one, name)) / total for name, total in whole.items())

    chosen = {id(one) for one in sorted(found.operators, key=share, reverse=True)[:top]}
    files = short_names(one.source.file for one in found.operators if one.source)
    heads = ("MACs", "other", "weights", "reads", "writes", "share")
    table = plain_table("operator", "type", *heads, left=2)
    for one in found.operators:
        if id(one) in chosen:
            table.add_row(*cells(one, files), f"{share(one):.0%}")
    return table


def cells(one: OperatorCost, files: Mapping[str, str]) -> list[str | Text]:
    """One operator's costs; what is not known is shown as ``-``."""
    place = where(one.source, files)
    once = " at load" if one.at_load else f" x{one.runs:,}" if one.runs != 1 else ""
    return [
        Text.assemble(one.name, *([("\n" + place, "dim")] if place else [])),
        f"{one.op}{once}",
        UNKNOWN if one.macs is None else short(one.macs),
        UNKNOWN if one.other_ops is None else short(one.other_ops),
        f"{show_bytes(one.weight_bytes)}{' shared' if one.shared else ''}",
        optional_bytes(one.activation_bytes_in),
        optional_bytes(one.activation_bytes_out),
    ]


def where(source: SourceLine | None, files: Mapping[str, str]) -> str:
    """The line of Python and the module that an operator comes from."""
    if source is None:
        return ""
    line = tail(f"{files[source.file]}:{source.line}", "/") if source.file else ""
    module = tail(source.module, ".")
    return f"{line}{' ' if len(line) + len(module) < ROOM else chr(10)}{module}".strip()


def tail(path: str, mark: str) -> str:
    """A path without its first parts, as far as it needs to be shorter.

    >>> tail("bert.encoder.layer.0.intermediate.dense", ".")
    '..layer.0.intermediate.dense'
    """
    rest = path
    while len(rest) + len(CUT) > ROOM and mark in rest:
        rest = rest.partition(mark)[2]
    return path if len(path) <= ROOM or rest == path else CUT + rest


def optional_bytes(size: int | None) -> str:
    """Bytes that may not be known."""
    return UNKNOWN if size is None else show_bytes(size)


def short(number: float) -> str:
    """A count with three digits.

    >>> short(10_941_280), short(940)
    ('10.9 M', '940')
    """
    size, letter = next(((s, text) for s, text in STEPS if number >= s), (1.0, ""))
    return f"{number / size:.3g} {letter}".rstrip()


def write_csv(found: Profile, path: Path) -> None:
    """Write a row for each operator, with all that is known of it.

    Raises:
        InputError: the file is no ``.csv``, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"a table is written to a file whose name ends in .csv; got '{path}'")
    rows = [csv_row(one) for one in found.operators]
    names = [field.name for field in dataclasses.fields(OperatorCost) if field.name != "source"]
    lines = [f"source_{field.name}" for field in dataclasses.fields(SourceLine)]
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*names, *lines], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}") from error


def csv_row(one: OperatorCost) -> dict[str, object]:
    """An operator's costs by column; what is not known is empty."""
    costs = dataclasses.asdict(one)
    source = costs.pop("source") or {}
    return {**costs, **{f"source_{name}": value for name, value in source.items()}}
