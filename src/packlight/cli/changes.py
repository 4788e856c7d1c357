"""What a recipe changed and refused, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from packlight.cli.tables import plain_table
from packlight.records.reading import show_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Change, Refusal
    from packlight.workflow import Made

MOST_KINDS = 8


def made_parts(made: Made) -> list[RenderableType]:
    """Size before and after, changes and refusals by kind."""
    variant, share = made.variant, made.after / made.before
    head = (
        f"{variant.file}: {show_bytes(made.after)} instead of {show_bytes(made.before)} "
        f"({share:.3g}x), {len(variant.changes)} changes, {len(variant.refusals)} refusals"
    )
    return [
        Text(head, style="bold"),
        *([changes_table(variant.changes)] if variant.changes else []),
        *refusal_lines(variant.refusals),
    ]


def changes_table(changes: Iterable[Change]) -> Table:
    """Changes of one kind in one row."""
    kinds: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        kinds.setdefault((change.method, change.what), []).append(change)
    table = plain_table("method", "what changed", "places", "weights before", "after", left=2)
    ranked = sorted(kinds.items(), key=lambda item: -len(item[1]))
    for (method, what), alike in ranked[:MOST_KINDS]:
        before, after = sum(one.before for one in alike), sum(one.after for one in alike)
        sizes = [show_bytes(before), show_bytes(after)] if before or after else ["-", "-"]
        table.add_row(method, what, str(len(alike)), *sizes)
    if len(ranked) > MOST_KINDS:
        table.add_row("", f"and {len(ranked) - MOST_KINDS} more kinds, with --json")
    return table


def refusal_lines(refusals: Iterable[Refusal]) -> list[Text]:
    """Refusals of one kind in one sentence, those of most operators first."""
    kinds = Counter((one.method, one.reason, one.remedy) for one in refusals)
    return [
        Text(f"Left as is by {method}: {count} x {reason}{'; ' if remedy else ''}{remedy}")
        for (method, reason, remedy), count in kinds.most_common()
    ]
