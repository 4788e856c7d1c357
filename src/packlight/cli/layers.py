"""``packlight layers``: errors of a variant, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import Json, Limit, Reference, TaskName, Threads, VariantModel
from packlight.cli.screen import print_record, working
from packlight.cli.tables import notes, plain_table, styled, write_rows
from packlight.presentation.numbers import plural, show_share, show_value
from packlight.presentation.overview import degradation

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Layers

MAX_WEIGHTS = 8
MAX_VALUES = 12
LEGEND = (
    "snr: signal to noise with all errors before it. own: signal to noise of this operator alone, "
    "on the reference's values. outside: share of numbers beyond the reference's range. All in "
    "exact arithmetic, without errors of the runtime."
)


def layers_parts(layers: Layers, top: int = MAX_VALUES) -> list[RenderableType]:
    """Tables of the worst values and weights, and the operator where degradation starts."""
    values = plural(len(layers.layers), "value")
    samples = plural(layers.n, "sample")
    parts: list[RenderableType] = [
        styled(f"Layers of {layers.variant} against {layers.reference}", style="bold"),
        layers_table(layers, top),
        styled(LEGEND, style="dim"),
        f"{degradation(layers)} {values} compared on {samples}.",
    ]
    if any(weight.levels for weight in layers.weights):
        parts.append(weights_table(layers))
    if layers.unmatched:
        names = ", ".join(layers.unmatched[:MAX_VALUES])
        parts.append(styled(f"No counterpart: {names}", style="yellow"))
    return [*parts, *notes(layers.notes)]


def layers_table(layers: Layers, top: int) -> Table:
    """The values with the largest errors of their own operators, in the order of the model."""
    worst = sorted(layers.layers, key=lambda layer: layer.own.value)[:top]
    chosen = {id(layer) for layer in (*worst, *layers.layers[-1:])}
    table = plain_table("operator", "type", "snr", "own", "outside", "range", texts=2)
    for layer in layers.layers:
        if id(layer) in chosen:
            mark = " *" if layer.name == layers.first else ""
            table.add_row(
                f"{layer.name}{mark}",
                layer.op,
                show_value(layer.snr),
                show_value(layer.own),
                show_share(layer.outside.value),
                f"[{layer.low:.3g}, {layer.high:.3g}]",
            )
    if len(layers.layers) > len(chosen):
        table.add_row(f"and {len(layers.layers) - len(chosen)} more, with --json or --csv")
    return table


def weights_table(layers: Layers) -> Table:
    """The weights with the largest errors."""
    worst = sorted(layers.weights, key=lambda weight: weight.snr.value)[:MAX_WEIGHTS]
    table = plain_table("weight", "shape", "snr", "zeros", "levels", texts=2)
    for weight in worst:
        shape = " x ".join(map(str, weight.shape))
        zeros = show_share(weight.variant_zeros)
        table.add_row(weight.name, shape, show_value(weight.snr), zeros, f"{weight.levels:,}")
    return table


HEADINGS = (
    "operator", "type", "value", "counterpart", "snr", "snr_low", "snr_high", "own", "own_low",
    "own_high", "low", "high", "variant_low", "variant_high", "outside", "file", "line", "module",
)  # fmt: skip


def csv_rows(layers: Layers) -> Iterator[tuple[object, ...]]:
    """One row per value."""
    for layer in layers.layers:
        source: tuple[object, ...] = ("", "", "")
        if layer.source is not None:
            source = (layer.source.file, layer.source.line, layer.source.module)
        ends = [end for m in (layer.snr, layer.own) for end in (m.value, m.low, m.high)]
        yield (
            layer.name, layer.op, layer.value, layer.counterpart, *ends, layer.low, layer.high,
            layer.variant_low, layer.variant_high, layer.outside.value, *source,
        )  # fmt: skip


def layers(
    reference: Reference,
    variant: VariantModel,
    *,
    task: TaskName,
    limit: Limit = 200,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Values to show.")] = 12,
    threads: Threads = 1,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="OUT.csv", help="Write one row per value.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show the layers in which a variant loses accuracy.

    Matches activations and weights of both models across fusions, renames and insertions. Each
    activation is compared twice: with all errors before it, and with the error of its operator
    alone.

    \b
    Example:
      packlight layers model.onnx int8.onnx --task data.npz --csv layers.csv
    """
    with working() as progress:
        from packlight import SessionOptions, compare_layers

        options = SessionOptions(threads=threads)
        comparison = compare_layers(
            reference, variant, task, options=options, limit=limit, progress=progress
        )
    if csv is not None:
        write_rows(csv, HEADINGS, csv_rows(comparison))
    print_record(comparison, lambda layers: layers_parts(layers, top), as_json=as_json)
    return DONE
