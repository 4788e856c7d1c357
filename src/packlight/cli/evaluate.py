"""``packlight evaluate``: quality of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.check import exit_code_of, gate_parts
from packlight.cli.contrast_tables import cells, contrast_parts
from packlight.cli.options import (
    Budgets,
    Json,
    ModelName,
    Samples,
    Seconds,
    Seed,
    TaskName,
    Threads,
)
from packlight.cli.screen import print_record, say, screen, working
from packlight.cli.tables import notes, plain_table, styled
from packlight.presentation.numbers import detectable_drop, plural

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Evaluation

TO_A_REFERENCE = (
    "drop", "flips", "worst_group_drop", "agreement", "snr", "kl", "cosine",
    "snr_exact", "snr_runtime",
)  # fmt: skip
MAX_GROUPS = 10
LEGEND = (
    "Against the reference's outputs: cosine; kl, divergence of the probabilities; snr, signal to "
    "noise (exact: in exact arithmetic, runtime: in this session); agreement, same decision; "
    "flips, right before and wrong now. A positive drop is worse."
)


def quality_parts(evaluation: Evaluation) -> list[RenderableType]:
    """Metrics, groups by column, notes and session options."""
    parts: list[RenderableType] = [metrics_table(evaluation)]
    if not _is_reference(evaluation):
        parts.append(styled(LEGEND, style="dim"))
    columns = dict.fromkeys(group.column for group in evaluation.groups)
    parts += [groups_table(evaluation, column) for column in columns]
    if evaluation.contrast is not None:
        parts += contrast_parts(evaluation.contrast, "The model", "its reference")
    parts += notes((*evaluation.labels, *evaluation.warnings))
    parts.append(styled(session_sentences(evaluation), style="dim"))
    if evaluation.samples:
        parts.append(f"samples  {evaluation.samples}")
    return parts


def session_sentences(evaluation: Evaluation) -> str:
    """Session options and the minimum detectable drop."""
    session = evaluation.session
    sentences = (
        f"[low, high]: 95 % confidence interval. Session: {session.arithmetic} arithmetic, "
        f"{plural(session.threads, 'thread')}, accuracy level {session.matmul_accuracy} of fused "
        "low-bit products."
    )
    if evaluation.contrast is not None or not evaluation.detectable:  # the headline states it
        return sentences
    metric = next((name for name in evaluation.metrics if name not in TO_A_REFERENCE), "agreement")
    return f"{sentences} {detectable_drop(metric, evaluation.detectable)}"


def _is_reference(evaluation: Evaluation) -> bool:
    return evaluation.reference == evaluation.variant


def metrics_table(evaluation: Evaluation) -> Table:
    """Every metric; fidelity to a reference only where that is another model."""
    metrics = evaluation.metrics
    if _is_reference(evaluation):
        quality = {name: m for name, m in metrics.items() if name not in TO_A_REFERENCE}
        metrics = quality or metrics
    table = plain_table("metric", "value", "interval", "n")
    for name, m in metrics.items():
        table.add_row(name, *cells(name, m), f"{m.n:,}")
    return table


def groups_table(evaluation: Evaluation, column: str) -> Table:
    """The groups of a column, the largest drop first."""
    groups = [group for group in evaluation.groups if group.column == column]
    heads = [column, "n", "metric", "interval"]
    with_drop = not _is_reference(evaluation)
    if with_drop:
        heads += ["drop", "interval"]
        groups.sort(key=lambda group: -group.drop.value)
    table = plain_table(*heads)
    for group in groups[:MAX_GROUPS]:
        row = [group.name, f"{group.n:,}", *cells("metric", group.metric)]
        if with_drop:
            row += cells("drop", group.drop)
        table.add_row(*row)
    if len(groups) > MAX_GROUPS:
        table.add_row(f"and {len(groups) - MAX_GROUPS} more, with --json")
    return table


def evaluate(
    model: ModelName,
    *,
    task: TaskName,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="MODEL", help="Model that drop and flips compare with."
        ),
    ] = None,
    samples: Samples = None,
    budget: Budgets = None,
    costs: Annotated[
        bool, typer.Option("--costs", help="Also measure latency and memory.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Measure the quality of a model, overall and by group.

    Every number has a 95 % confidence interval.

    \b
    Examples:
      packlight evaluate model.onnx --task data.npz
      packlight evaluate smaller.onnx --task data.npz --reference model.onnx
      packlight evaluate model.onnx --task data.npz --costs --json > main.json
    """
    from packlight import parse_budget
    from packlight.api.check import check_evaluation

    limits = parse_budget(budget or ())
    with working() as progress:
        from packlight import SessionOptions
        from packlight import evaluate as evaluate_model

        options = SessionOptions(threads=threads)
        evaluation = evaluate_model(
            model, task, reference=reference, samples=samples, options=options, seed=seed,
            seconds=seconds, costs=costs, progress=progress,
        )  # fmt: skip
    gates = [check_evaluation(evaluation, Path(model).stem, limits)] if limits.all() else []
    print_record(evaluation, quality_parts, as_json=as_json)
    if not as_json:
        for gate in gates:
            say(screen(), *gate_parts(gate))
    return exit_code_of(gates)
