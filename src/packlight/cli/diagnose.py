"""``packlight diagnose``: why a variant lost quality, or did not get faster or smaller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from packlight.cli.exit_codes import DONE
from packlight.cli.options import (
    MODEL_HELP,
    Json,
    OnDevice,
    OnUnit,
    OptionalTask,
    Seconds,
    Seed,
    Threads,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import plain_table
from packlight.presentation.contrasts import place, show_evidence

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


def diagnose(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help=MODEL_HELP)],
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="What was made of it, by any tool.")
    ],
    *,
    task: OptionalTask = "",
    device: OnDevice = "",
    unit: OnUnit = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Samples at most, evenly spread.")
    ] = 32,
    quality: Annotated[
        bool, typer.Option("--quality", help="Quality and size alone: no times.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Say why a variant lost quality, or did not get faster or smaller.

    Each cause is measured: what the outputs gain when it is taken away, or the share of time or
    bytes that it takes. Works on any two models with the same inputs and outputs. Without --task,
    inputs are drawn at random. --device predicts times instead of measuring them here.

    \b
    Examples:
      packlight diagnose model.onnx int8.onnx --task data.npz
      packlight diagnose model.onnx int8.onnx --task data.npz --json
      packlight diagnose model.onnx int4.onnx --device pixel-8
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import diagnose as find_causes

        found = find_causes(
            reference,
            variant,
            task or None,
            device=device,
            unit=unit,
            options=SessionOptions(threads=threads),
            limit=limit,
            seconds=0.0 if quality else seconds,
            seed=seed,
            progress=progress,
        )
    if as_json:
        from packlight import to_json

        print_json([to_json(one) for one in found])
    else:
        say(screen(), *findings_parts(found))
    return DONE
