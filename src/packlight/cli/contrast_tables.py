"""Contrasts of a variant with its reference, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from packlight.cli.tables import plain_table, styled
from packlight.presentation.contrasts import (
    NEAR,
    RATES,
    SLICES,
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

MAX_GROUPS = 6
MAX_MOVED = 8
MAX_DECISION = 16
"""Characters of a decision in a table."""

LEGEND = (
    "q: p-value of no drop, adjusted over all groups (Benjamini-Hochberg). extra: drop above that "
    "of all other samples, and its q. + hit harder, - hit lighter (extra q at most 0.05); "
    "? fewer than 30 samples, not tested."
)
MARKS = {"harder": "+", "lighter": "-", "alike": "", "too small": "?"}


def contrast_parts(contrast: Contrast, name: str, base: str) -> list[RenderableType]:
    """Sentences and tables on a variant against its reference; empty ones are left out."""
    parts: list[RenderableType] = [styled(f"{name} against {base}", style="bold")]
    if contrast.level:
        parts.append(level_table(contrast.level))
    parts.append(headline(contrast))
    if contrast.rates:
        parts += [rates_table(contrast), styled(balance(contrast), style="dim")]
    if contrast.groups:
        parts += [groups_table(contrast.groups), styled(LEGEND, style="dim")]
    if contrast.worst is not None:
        parts.append(worst_sentence(contrast))
    if contrast.slices:
        parts += [slices_table(contrast), styled(SLICES, style="dim")]
    if contrast.trust:
        parts.append(shifts_table("trust", contrast.trust, TRUST, ""))
    if contrast.spread:
        head = f"{contrast.metric} of"
        parts.append(shifts_table(head, contrast.spread, SPREAD, contrast.metric))
    if contrast.neighbours:
        parts.append(neighbors_table(contrast))
    if contrast.moved:
        parts.append(moved_table(contrast))
    return [*parts, *(styled(f"Note: {note}.", style="yellow") for note in contrast.notes)]


def level_table(levels: Mapping[str, Shift]) -> Table:
    """The metric of both models."""
    table = plain_table("metric", "before", "now", "change")
    for name, shift in levels.items():
        values = (shift.before, shift.after, shift.change)
        table.add_row(name, *(show_named(name, value) for value in values))
    return table


def rates_table(contrast: Contrast) -> Table:
    """Shares of decisions or samples that changed."""
    table = plain_table("", "share", "interval", "n")
    for name, text in RATES.items():
        rate = contrast.rates.get(name)
        if rate is not None:
            table.add_row(text, *cells("flips", rate), f"{rate.n:,}")
    return table


def cells(name: str, m: Measurement) -> tuple[str, str]:
    """A number and its interval."""
    return show_named_value(name, m), show_named_interval(name, m)


def groups_table(groups: Sequence[GroupContrast]) -> Table:
    """The groups with the largest drops; those with too few samples last."""
    ranked = sorted(groups, key=lambda group: (group.standing == "too small", -group.drop.value))
    table = plain_table("group", "n", "drop", "interval", "q", "extra", "extra q", "")
    for group in ranked[:MAX_GROUPS]:
        row = [f"{group.column} = {group.name}", f"{group.n:,}", *cells("drop", group.drop)]
        if group.standing == "too small" or group.extra is None:
            row += ["", "", ""]
        else:
            extra = show_named_value("drop", group.extra)
            row += [bare_p(group.q), extra, bare_p(group.extra_q)]
        table.add_row(*row, MARKS[group.standing])
    if len(ranked) > MAX_GROUPS:
        table.add_row(f"and {len(ranked) - MAX_GROUPS} more, with --json")
    return table


def slices_table(contrast: Contrast) -> Table:
    """Confirmed slices."""
    table = plain_table("samples that lose more", "n", "drop", "extra", "interval", "q")
    for segment in contrast.slices:
        drop = show_named_value("drop", segment.drop)
        extra = cells("drop", segment.extra)
        table.add_row(segment.rule, f"{segment.n:,}", drop, *extra, bare_p(segment.q))
    return table


def shifts_table(
    head: str, shifts: Mapping[str, Shift], names: Mapping[str, str], metric: str
) -> Table:
    """Numbers of both models and their difference."""
    table = plain_table(head, "before", "now", "change", "interval")
    for key, text in names.items():
        shift = shifts.get(key)
        if shift is not None:
            name = metric or key
            before = show_named_value(name, shift.before)
            after = show_named_value(name, shift.after)
            table.add_row(text, before, after, *cells(name, shift.change))
    return table


def neighbors_table(contrast: Contrast) -> Table:
    """Agreement of the neighbors of embeddings."""
    table = plain_table("neighbors", "", "n")
    for name, text in NEAR.items():
        agreement = contrast.neighbours.get(name)
        if agreement is not None:
            table.add_row(text, show_named(name, agreement), f"{agreement.n:,}")
    return table


def moved_table(contrast: Contrast) -> Table:
    """The samples that changed most."""
    table = plain_table(f"changed most by {contrast.distance}", "sample", "", "before", "now")
    for sample in contrast.moved[:MAX_MOVED]:
        decisions = [shorten(text) for text in (sample.before, sample.after)]
        row = (f"{sample.divergence:.3g}", f"{sample.sample}", sample.outcome)
        table.add_row(*row, *decisions)
    return table


def shorten(text: str) -> str:
    """A decision cut to the width of its column."""
    if len(text) <= MAX_DECISION:
        return text
    return f"{text[: MAX_DECISION - 3]}..."
