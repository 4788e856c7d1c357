"""What changed from a reference to a variant, for people: for whom, and how surely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from packlight.cli.tables import plain_table
from packlight.presentation.contrasts import (
    NEAR,
    RATES,
    SPREAD,
    TRUST,
    balance,
    bare_p,
    headline,
    worst_sentence,
)
from packlight.presentation.numbers import show_named, show_named_interval, show_named_value

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Contrast, GroupContrast, Measurement, Shift

MOST_GROUPS, MOST_MOVED = 6, 8

LEGEND = (
    "q: p that there is no drop, adjusted over all groups (Benjamini-Hochberg). Extra: drop in the "
    "group above that in the rest, and its q; + harder hit, - lighter hit, where that is at most "
    "0.05; ? fewer than 30 samples, not judged."
)
SLICES = (
    "Found on one half of the samples; the numbers are of the other half, without samples of "
    "slices told before."
)
MARKS = {"harder": "+", "lighter": "-", "alike": "", "too small": "?"}


def contrast_parts(found: Contrast, name: str, base: str) -> list[RenderableType]:
    """A variant against its reference: sentences and tables, only of what there is."""
    parts: list[RenderableType] = [Text(f"{name} against {base}", style="bold")]
    if found.level:
        parts.append(level_table(found.level))
    parts.append(headline(found))
    if found.rates:
        parts += [rates_table(found), Text(balance(found), style="dim")]
    if found.groups:
        parts += [groups_table(found.groups), Text(LEGEND, style="dim")]
    if found.worst is not None:
        parts.append(worst_sentence(found))
    if found.slices:
        parts += [slices_table(found), Text(SLICES, style="dim")]
    if found.trust:
        parts.append(shifts_table("trust", found.trust, TRUST, ""))
    if found.spread:
        parts.append(shifts_table(f"{found.metric} of", found.spread, SPREAD, found.metric))
    if found.neighbours:
        parts.append(neighbours_table(found))
    if found.moved:
        parts.append(moved_table(found))
    return [*parts, *(Text(f"Note: {told}.", style="yellow") for told in found.notes)]


def level_table(levels: Mapping[str, Shift]) -> Table:
    """The metric of both models."""
    table = plain_table("metric", "before", "now", "change")
    for name, one in levels.items():
        table.add_row(name, *(show_named(name, m) for m in (one.before, one.after, one.change)))
    return table


def rates_table(found: Contrast) -> Table:
    """How many decisions or samples changed."""
    table = plain_table("", "share", "interval", "n")
    for name, text in RATES.items():
        if name in found.rates:
            table.add_row(text, *cells("flips", found.rates[name]), f"{found.rates[name].n:,}")
    return table


def cells(name: str, m: Measurement) -> tuple[str, str]:
    """A number and its interval."""
    return show_named_value(name, m), show_named_interval(name, m)


def groups_table(groups: Sequence[GroupContrast]) -> Table:
    """The groups that lose most, those too small last."""
    order = sorted(groups, key=lambda one: (one.standing == "too small", -one.drop.value))
    table = plain_table("group", "n", "drop", "interval", "q", "extra", "extra q", "")
    for one in order[:MOST_GROUPS]:
        extra = "" if one.extra is None else show_named_value("drop", one.extra)
        judged = one.standing != "too small"
        tests = [bare_p(one.q), extra, bare_p(one.extra_q)] if judged else ["", "", ""]
        name = f"{one.column} = {one.name}"
        table.add_row(name, f"{one.n:,}", *cells("drop", one.drop), *tests, MARKS[one.standing])
    if len(order) > MOST_GROUPS:
        table.add_row(f"and {len(order) - MOST_GROUPS} more, with --json")
    return table


def slices_table(found: Contrast) -> Table:
    """Slices that were found and confirmed."""
    table = plain_table("samples that lose more", "n", "drop", "extra", "interval", "q")
    for one in found.slices:
        numbers = show_named_value("drop", one.drop), *cells("drop", one.extra)
        table.add_row(one.rule, f"{one.n:,}", *numbers, bare_p(one.q))
    return table


def shifts_table(
    head: str, shifts: Mapping[str, Shift], names: Mapping[str, str], metric: str
) -> Table:
    """Numbers of both models and their difference."""
    table = plain_table(head, "before", "now", "change", "interval")
    for key, text in names.items():
        if key in shifts:
            name, shift = metric or key, shifts[key]
            ends = show_named_value(name, shift.before), show_named_value(name, shift.after)
            table.add_row(text, *ends, *cells(name, shift.change))
    return table


def neighbours_table(found: Contrast) -> Table:
    """Whether embeddings keep who is near whom."""
    table = plain_table("neighbours", "", "n")
    for name, text in NEAR.items():
        if name in found.neighbours:
            m = found.neighbours[name]
            table.add_row(text, show_named(name, m), f"{m.n:,}")
    return table


def moved_table(found: Contrast) -> Table:
    """The samples that changed most."""
    table = plain_table(f"changed most by {found.distance}", "sample", "", "before", "now")
    for one in found.moved[:MOST_MOVED]:
        decided = [text if len(text) <= SHORT else f"{text[: SHORT - 3]}..."
                   for text in (one.before, one.after)]  # fmt: skip
        table.add_row(f"{one.divergence:.3g}", f"{one.sample}", one.outcome, *decided)
    return table


SHORT = 16
"""Characters of a decision in a table."""
