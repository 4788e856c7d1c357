"""``packlight compare``: quality and cost of models against a base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.check import exit_code_of, gate_parts
from packlight.cli.contrast_tables import contrast_parts
from packlight.cli.layers import layers_parts
from packlight.cli.lessons import advice_parts
from packlight.cli.options import (
    MODEL_HELP,
    Budgets,
    Json,
    OptionalTask,
    Samples,
    Seconds,
    Seed,
    Threads,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import UNKNOWN, notes, plain_table, results_table, styled
from packlight.errors import InputError
from packlight.presentation.numbers import show_named, show_named_interval, show_named_value

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from packlight.records import Budget, Comparison, VariantResult

SAVED = ".json"
LEGEND = (
    "[low, high]: 95 % confidence interval. A positive drop is worse: in points for metrics "
    "between 0 and 1, else relative to the base; drops are paired on the same samples."
)
RATIO_LEGENDS = {
    True: "Latency ratio: latency over the base's, measured interleaved.",
    False: "Latency ratio: latency over the base's, measured at different times.",
}
"""By whether the models were measured together, and not saved."""

REPORT_HINT = "To see the inputs of the samples that changed most, add --report OUT.html."
FLIPS_LEGEND = (
    "lost: right before, wrong now. won: wrong before, right now. changed: wrong before and now, "
    "another decision. hit hardest: the group with the largest share of lost minus won."
)
ROBUSTNESS_LEGEND = (
    "drop: against the same model on unchanged inputs. extra: the model's drop minus the base's; "
    "positive is less robust."
)


def comparison_parts(console: Console, comparison: Comparison) -> list[RenderableType]:
    """Tables, contrasts, notes, lessons and paths."""
    results = (comparison.base, *comparison.others)
    names = {result.id: result.name for result in results}
    measured = "size" in comparison.base.metrics
    reference = "its reference"
    parts: list[RenderableType] = [quality_table(results)]
    if measured:
        reference = comparison.base.name
        legend = LEGEND
        if "latency_ratio" in comparison.base.metrics:
            legend = f"{LEGEND} {RATIO_LEGENDS[bool(comparison.contrasts)]}"
        judged = any(result.meets for result in comparison.others)
        table = results_table(console, results, "", None, judged=judged)
        parts = [table, styled(legend, style="dim")]
        if not comparison.contrasts:
            parts.insert(0, quality_table(results))
    if comparison.flips:
        parts += [flips_table(comparison), styled(FLIPS_LEGEND, style="dim")]
    for contrast in comparison.contrasts:
        parts += contrast_parts(contrast, names[contrast.variant], reference)
    is_moved = any(contrast.moved for contrast in comparison.contrasts)
    if is_moved and measured and not comparison.report:
        parts.append(styled(REPORT_HINT, style="dim"))
    if comparison.robustness:
        parts += [robustness_table(comparison), styled(ROBUSTNESS_LEGEND, style="dim")]
    for layers in comparison.layers:
        parts += layers_parts(layers)
    for variant, differences in comparison.unlike.items():
        sentence = f"Not ranked: {names[variant]} differs in {'; '.join(differences)}"
        parts.append(styled(sentence, style="yellow"))
    parts += notes(comparison.warnings)
    parts += advice_parts(comparison.lessons)
    paths = (("report", comparison.report), ("samples", comparison.samples))
    return [*parts, *(f"{name}  {path}" for name, path in paths if path)]


def quality_table(results: Sequence[VariantResult]) -> Table:
    """Every metric of saved evaluations."""
    table = plain_table("metric", *(result.name for result in results))
    for name in dict.fromkeys(name for result in results for name in result.metrics):
        cells = [
            show_named(name, result.metrics[name]) if name in result.metrics else UNKNOWN
            for result in results
        ]
        table.add_row(name, *cells)
    return table


def robustness_table(comparison: Comparison) -> Table:
    """Drops under small changes of the inputs."""
    names = {result.id: result.name for result in comparison.others}
    table = plain_table("input change", "model", "base drop", "drop", "extra", "interval", texts=2)
    for result in comparison.robustness:
        drops = (result.reference, result.drop, result.extra)
        cells = [show_named_value("drop", drop) for drop in drops]
        interval = show_named_interval("drop", result.extra)
        table.add_row(result.change, names[result.variant], *cells, interval)
    return table


def flips_table(comparison: Comparison) -> Table:
    """Changed decisions by model."""
    names = {result.id: result.name for result in (comparison.base, *comparison.others)}
    table = plain_table("model", "lost", "won", "changed", "of", "hit hardest")
    for flips in comparison.flips:
        group, share = max(flips.by_group.items(), key=lambda item: item[1], default=("", 0.0))
        hardest = f"{group} ({share:+.1%})" if share > 0 else UNKNOWN
        counts = [f"{n:,}" for n in (flips.lost, flips.won, flips.changed, flips.n)]
        table.add_row(names[flips.variant], *counts, hardest)
    return table


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help=f"The reference. {MODEL_HELP}")],
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Models to compare with it.")
    ],
    *,
    task: OptionalTask = "",
    budget: Budgets = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="OUT.html", help="Also write an HTML report."),
    ] = None,
    samples: Samples = None,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    quality: Annotated[
        bool,
        typer.Option("--quality", help="Size and quality only: no latency, no memory, no report."),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also compare layer by layer: activations and weights.")
    ] = False,
    robust: Annotated[
        bool, typer.Option("--robustness", help="Also compare drops on slightly changed inputs.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Compare models with a base: quality, groups, size, latency.

    The models may come from any tool; they need the same inputs and outputs. All run on the same
    samples, and latency is measured interleaved. Without --task, it compares evaluations saved with
    evaluate --json, and ranks those made under the same conditions.

    \b
    Examples:
      packlight compare m.onnx int8.onnx int4.onnx --task data.npz --report out.html
      packlight compare m.onnx int8.onnx --task data.npz --samples samples.csv
      packlight compare here.json there.json
    """
    from packlight import parse_budget

    limits = parse_budget(budget or ())
    if not task:
        return show_comparison(saved_comparison(base, *models), limits, as_json=as_json)
    with working() as progress:
        from packlight import SessionOptions
        from packlight import compare as compare_models

        comparison = compare_models(
            base,
            models,
            task,
            budget=limits,
            report=report,
            samples=samples,
            options=SessionOptions(threads=threads),
            seed=seed,
            seconds=seconds,
            costs=not quality,
            layers=layers,
            robust=robust,
            progress=progress,
        )
    return show_comparison(comparison, limits, as_json=as_json)


def saved_comparison(*names: str) -> Comparison:
    """Compare saved evaluations.

    Raises:
        InputError: the files are models, which need a task.
    """
    if not all(name.endswith(SAVED) for name in names):
        raise InputError(
            "models are compared on the samples of a task: give --task. Without it, compare takes "
            "evaluations saved as .json"
        )
    from packlight.api.compare import compare_saved

    return compare_saved(names)


def show_comparison(comparison: Comparison, budget: Budget, *, as_json: bool) -> int:
    """Print a comparison; return 0 if every model meets every budget, else 1."""
    from packlight.api.check import check_comparison

    gates = check_comparison(comparison, budget) if budget.all() else []
    if as_json:
        print_json(comparison)
    else:
        console = screen()
        say(console, *comparison_parts(console, comparison))
        for gate in gates:
            say(console, *gate_parts(gate))
    return exit_code_of(gates)
