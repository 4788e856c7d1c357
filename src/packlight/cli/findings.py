"""Findings, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from packlight.cli.tables import plain_table
from packlight.records.telling import place, show_evidence

if TYPE_CHECKING:
    from rich.console import RenderableType

    from packlight.records import Finding

TONE = {"serious": "bold red", "warning": "yellow", "note": "dim"}
INDENT = (0, 0, 0, 2)
NOTHING = "No cause found: quality, time and size are as they should be."


def findings_parts(found: Sequence[Finding]) -> list[RenderableType]:
    """Every finding: what, where, what shows it, and what to do."""
    if not found:
        return [NOTHING]
    return [part for number, one in enumerate(found, 1) for part in finding_parts(number, one)]


def finding_parts(number: int, one: Finding) -> Iterator[RenderableType]:
    """One finding."""
    head = Text.assemble(
        f"{number}. ", (one.severity, TONE[one.severity]), f" {one.cause} ({one.harm})"
    )
    yield Text.assemble(head, "\n", f"{one.sentence[:1].upper()}{one.sentence[1:]}.")
    table = plain_table("", "", left=2)
    table.show_header = False
    if one.source is not None:
        table.add_row("where", place(one.source))
    for name, m in one.evidence.items():
        table.add_row(name.replace("_", " "), show_evidence(name, m))
    table.add_row("do", one.next_step)
    for lesson in one.lessons:
        table.add_row("read", f"packlight lessons {lesson}")
    yield Padding(table, INDENT)
