"""``packlight evaluate``: how good a model is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from packlight.cli.contrast_tables import contrast_parts
from packlight.cli.exit_codes import DONE
from packlight.cli.options import Json, ModelName, Samples, Seed, TaskName, Threads
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import plain_table
from packlight.presentation.numbers import show_named_interval, show_named_value, show_share

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Evaluation, Group

TO_A_REFERENCE = (
    "drop", "flips", "worst_group_drop", "agreement", "snr", "kl", "cosine",
    "snr_exact", "snr_runtime",
)  # fmt: skip
MOST_GROUPS = 10
BESIDE = (
    "Beside the reference's outputs: cosine, kl (divergence of the probabilities) and snr (signal "
    "to noise; exact: by exact arithmetic, runtime: as it runs here); agreement: the same "
    "decisions; flips: right before and wrong now. A positive drop is worse."
)


def quality_parts(found: Evaluation) -> list[RenderableType]:
    """Metrics, groups by column, labels, and how it was run."""
    alone = found.reference == found.variant
    told = (*found.labels, *found.warnings)
    notes = [Text(f"Note: {sentence}", style="yellow") for sentence in told]
    columns = dict.fromkeys(group.column for group in found.groups)
    session = found.session
    how = (
        f"[low, high] are 95 % intervals. Arithmetic: {session.arithmetic}, threads: "
        f"{session.threads}, accuracy level of fused low-bit products: {session.matmul_accuracy}. "
        f"Minimum detectable drop (80 % power): {show_share(found.detectable)}."
    )
    beside = found.contrast
    return [
        metrics_table(found, alone=alone),
        *([] if alone else [Text(BESIDE, style="dim")]),
        *(groups_table(found, column, alone=alone) for column in columns),
        *([] if beside is None else contrast_parts(beside, "The model", "its reference")),
        *notes,
        Text(how, style="dim"),
        *([f"samples  {found.samples}"] if found.samples else []),
    ]


def metrics_table(found: Evaluation, *, alone: bool) -> Table:
    """Every metric; those against a reference only where there is another model for one."""
    own = {name: m for name, m in found.metrics.items() if name not in TO_A_REFERENCE}
    table = plain_table("metric", "value", "interval", "n")
    for name, m in (own if alone and own else found.metrics).items():
        shown = show_named_value(name, m), show_named_interval(name, m)
        table.add_row(name, *shown, f"{m.n:,}")
    return table


def groups_table(found: Evaluation, column: str, *, alone: bool) -> Table:
    """The groups of one column, the worst first; not more than fit on a screen."""
    groups = [group for group in found.groups if group.column == column]
    worst = sorted(groups, key=lambda g: -g.drop.value) if not alone else groups
    table = plain_table(column, "n", "metric", "interval", *([] if alone else ["drop", "interval"]))
    for group in worst[:MOST_GROUPS]:
        table.add_row(*group_cells(group, alone=alone))
    if len(worst) > MOST_GROUPS:
        table.add_row(f"and {len(worst) - MOST_GROUPS} more, with --json")
    return table


def group_cells(group: Group, *, alone: bool) -> list[str]:
    """One group's numbers."""
    numbers = {"metric": group.metric} if alone else {"metric": group.metric, "drop": group.drop}
    shown = [
        text
        for name, m in numbers.items()
        for text in (show_named_value(name, m), show_named_interval(name, m))
    ]
    return [group.name, f"{group.n:,}", *shown]


def evaluate(
    model: ModelName,
    *,
    task: TaskName,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="MODEL", help="What drop and flips are against."),
    ] = None,
    samples: Samples = None,
    seed: Seed = 0,
    threads: Threads = 1,
    as_json: Json = False,
) -> int:
    """Measure how good a model is.

    In all and by group, with 95 % intervals.

    \b
    Examples:
      packlight evaluate model.onnx --task data.npz
      packlight evaluate smaller.onnx --task data.npz --reference model.onnx
    """
    with working() as progress:
        from packlight import SessionOptions
        from packlight import evaluate as judge

        options = SessionOptions(threads=threads)
        found = judge(
            model, task, reference=reference, samples=samples, options=options, seed=seed,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(found)
    else:
        say(screen(), *quality_parts(found))
    return DONE
