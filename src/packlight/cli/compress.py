"""``packlight compress``: apply a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import (
    RECIPE_HELP,
    TASK_HELP,
    CompressThreads,
    Json,
    ModelName,
    Seed,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import UNKNOWN, plain_table, stacked, styled
from packlight.presentation.changes import calibration_sentence, describe_change
from packlight.presentation.numbers import plural, show_bytes
from packlight.presentation.refusals import group_refusals

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.api.compress import Compressed
    from packlight.records import Change, Refusal, Variant

MAX_KINDS = 8


def compressed_parts(compressed: Compressed) -> list[RenderableType]:
    """Size before and after, changes and refusals by kind."""
    variant = compressed.variant
    head = (
        f"{variant.file}: {show_bytes(compressed.after)} instead of "
        f"{show_bytes(compressed.before)} ({compressed.after / compressed.before:.3g}x), "
        f"{plural(len(variant.changes), 'change')}, {plural(len(variant.refusals), 'refusal')}"
    )
    parts: list[RenderableType] = [styled(head, style="bold")]
    if compressed.first_run is not None and compressed.first_run.error:
        parts.append(styled(f"As with the original, it was not run: {compressed.first_run.error}"))
    parts += [styled(calibration_sentence(made)) for made in variant.calibrations]
    if variant.changes:
        parts.append(changes_table(variant.changes))
    if compressed.quantized:
        operators = f"{compressed.quantized} of its operators are"
        if compressed.quantized == 1:
            operators = "One of its operators is"
        parts.append(styled(f"{operators} quantized already: start from the float model."))
    idle = steps_without_changes(variant)
    if idle:
        parts.append(f"Changed nothing: {', '.join(idle)}")
    if variant.refusals:
        parts.append(stacked(*refusal_lines(variant.refusals)))
    return parts


def steps_without_changes(variant: Variant) -> list[str]:
    """Steps of a recipe whose method changed nothing, in short."""
    active = {change.method for change in variant.changes}
    return [step.text() for step in variant.recipe.steps if step.method not in active]


def changes_table(changes: Iterable[Change]) -> Table:
    """One row per kind of change."""
    kinds: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        kinds.setdefault((change.method, describe_change(change)), []).append(change)
    table = plain_table("method", "what changed", "count", "weights before", "after", texts=2)
    ranked = sorted(kinds.items(), key=lambda item: -len(item[1]))
    for (method, description), alike in ranked[:MAX_KINDS]:
        before = sum(change.before for change in alike)
        after = sum(change.after for change in alike)
        sizes = [show_bytes(before), show_bytes(after)] if before or after else [UNKNOWN, UNKNOWN]
        table.add_row(method, description, str(len(alike)), *sizes)
    if len(ranked) > MAX_KINDS:
        table.add_row("", f"and {len(ranked) - MAX_KINDS} more kinds, with --json")
    return table


def refusal_lines(refusals: Iterable[Refusal]) -> list[str]:
    """One line per reason, the most frequent first; the operators are in ``--json``."""
    return [group.sentence() for group in group_refusals(refusals)]


def compress(
    model: ModelName,
    *,
    recipe: Annotated[str, typer.Option("--recipe", metavar="R", help=RECIPE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="File to write.")],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="T", help=f"Source of calibration samples: {TASK_HELP}"),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Open and run the new file once before it is put in its place.",
        ),
    ] = True,
    seed: Seed = 0,
    threads: CompressThreads = None,
    as_json: Json = False,
) -> int:
    """Compress a model with a recipe.

    Lists what changed and what was skipped. The input file is never overwritten.

    \b
    Examples:
      packlight compress model.onnx --recipe simplify+weights:8 -o smaller.onnx
      packlight compress model.onnx --recipe best4 --task data.npz -o smallest.onnx
      packlight compress model.onnx --recipe static --task data.npz -o int8.onnx
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import compress as compress_model

        compressed = compress_model(
            model,
            recipe,
            out,
            task=task,
            options=SessionOptions(threads=threads or 1),
            threads=threads,
            seed=seed,
            progress=progress,
            verify=verify,
        )
    if as_json:
        print_json(compressed.variant)
    else:
        say(screen(), *compressed_parts(compressed))
    return DONE
