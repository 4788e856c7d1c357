"""``packlight compress``: apply a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from packlight.cli.exit_codes import DONE
from packlight.cli.options import RECIPE_HELP, TASK_HELP, Json, ModelName, Seed, Threads
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import plain_table
from packlight.presentation.changes import describe_change, describe_refusal
from packlight.presentation.numbers import show_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.api.compress import Compressed
    from packlight.records import Change, Refusal

MOST_KINDS = 8


def made_parts(made: Compressed) -> list[RenderableType]:
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
        kinds.setdefault((change.method, describe_change(change)), []).append(change)
    table = plain_table("method", "what changed", "places", "weights before", "after", texts=2)
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
    kinds = Counter((one.method, describe_refusal(one)) for one in refusals)
    return [
        Text(f"Left as is by {method}: {count} x {sentence}")
        for (method, sentence), count in kinds.most_common()
    ]


def compress(
    model: ModelName,
    *,
    recipe: Annotated[str, typer.Option("--recipe", metavar="R", help=RECIPE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="File to write.")],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="T", help=f"Source of calibration samples: {TASK_HELP}"),
    ] = None,
    seed: Seed = 0,
    threads: Threads = 1,
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
            options=SessionOptions(threads=threads),
            seed=seed,
            progress=progress,
        )
    if as_json:
        print_json(compressed.variant)
    else:
        say(screen(), *made_parts(compressed))
    return DONE
