"""``packlight diagnose``: causes of lost quality, time or size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import (
    Json,
    Limit,
    OnDevice,
    OnUnit,
    OptionalTask,
    Reference,
    Seconds,
    Seed,
    Threads,
    VariantModel,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import counts, new_line, plain_table, styled, styled_parts
from packlight.presentation.contrasts import place, show_evidence
from packlight.presentation.diagnosis import HEADS, float_note, headline, share_rows

if TYPE_CHECKING:
    from rich.console import RenderableType

    from packlight.records import Finding
    from packlight.records.diagnosis import DiagnosisSummary

TONE = {"serious": "bold red", "warning": "yellow", "note": "dim"}
INDENT = (0, 0, 0, 2)
NOTHING = "No cause found: quality, latency and size are as expected."


def summary_parts(summary: DiagnosisSummary) -> Iterator[RenderableType]:
    """The headline, then where time goes."""
    yield styled(headline(summary), style="bold")
    rows = share_rows(summary)
    if not rows:
        return
    table = plain_table(*HEADS, texts=2)
    for row in rows:
        table.add_row(*row)
    yield table
    note = float_note(summary)
    if note:
        yield styled(note)


def findings_parts(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """The summary, then every finding: cause, sentence, evidence and next step."""
    from rich.padding import Padding

    summary = getattr(findings, "summary", None)
    if summary is not None:
        yield from summary_parts(summary)
    if not findings:
        yield NOTHING
    for number, finding in enumerate(findings, 1):
        yield styled_parts(
            f"{number}. ",
            (finding.severity, TONE[finding.severity]),
            f" {finding.cause} ({finding.harm})",
            new_line(),
            f"{finding.sentence[:1].upper()}{finding.sentence[1:]}.",
        )
        yield Padding(counts(evidence_rows(finding)), INDENT)


def evidence_rows(finding: Finding) -> Iterator[tuple[str, str]]:
    """Source line, evidence, next step and lessons."""
    if finding.source is not None:
        yield "where", place(finding.source)
    for name, m in finding.evidence.items():
        yield name.replace("_", " "), show_evidence(name, m)
    yield "next step", finding.next_step
    for lesson in finding.lessons:
        yield "lesson", f"packlight lessons {lesson}"


def diagnose(
    reference: Reference,
    variant: VariantModel,
    *,
    task: OptionalTask = "",
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="R",
            help="Recipe that made the variant: shows what more calibration samples would give.",
        ),
    ] = "",
    device: OnDevice = "",
    unit: OnUnit = "",
    limit: Limit = 32,
    quality: Annotated[
        bool, typer.Option("--quality", help="Quality and size only: no latency.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Find out why a variant lost quality or gained no speed.

    Each cause is measured: by the noise that disappears when it is cured, or by its share of time
    or bytes. Works on any two models with the same inputs and outputs. Without --task, inputs are
    random. --device predicts latency instead of measuring it here.

    \b
    Examples:
      packlight diagnose model.onnx int8.onnx --task data.npz
      packlight diagnose model.onnx int8.onnx --task data.npz --json
      packlight diagnose model.onnx int4.onnx --device pixel-8
      packlight diagnose model.onnx small.onnx --task data.npz --recipe best3
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import diagnose as find_causes

        findings = find_causes(
            reference,
            variant,
            task or None,
            recipe=recipe or None,
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

        print_json([to_json(finding) for finding in findings])
    else:
        say(screen(), *findings_parts(findings))
    return DONE
