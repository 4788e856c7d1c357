"""``packlight export``: formats of real devices, with proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import judged
from packlight.cli.options import TASK_HELP, Json, Seed
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import counts, plain_table, styled
from packlight.presentation.bundle import TITLES, decibels, weight_groups
from packlight.presentation.numbers import show_bytes, show_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from packlight.records.export import Bundle, Parity


def bundle_parts(bundle: Bundle) -> list[RenderableType]:
    """Size, weights by storage, parity and what was not verified."""
    ratio = bundle.bytes / bundle.onnx_bytes
    head = (
        f"{bundle.folder}/{bundle.entry}: {TITLES[bundle.format]}, {show_bytes(bundle.bytes)} "
        f"({ratio:.3g}x the ONNX file)"
    )
    table = plain_table("stored as", "weights", "numbers", "bytes", texts=1)
    for group in weight_groups(bundle):
        table.add_row(
            group.label, f"{group.weights:,}", f"{group.elements:,}", show_bytes(group.bytes)
        )
    parts: list[RenderableType] = [styled(head, style="bold"), table]
    if bundle.parity is not None:
        parts += [counts(parity_rows(bundle.parity)), verdict(bundle.parity)]
    parts += [styled(f"Not verified here: {text}", style="dim") for text in bundle.unmeasured]
    return parts


def parity_rows(parity: Parity) -> Iterator[tuple[str, str]]:
    """Numbers of a comparison with their labels."""
    yield "ran in", parity.runtime
    yield "inputs", f"{parity.samples}, {parity.random} of them random"
    yield "signal to noise", f"worst {decibels(parity.worst)}, median {decibels(parity.median)}"
    for other in parity.other_runs:
        yield other.runtime, f"worst {decibels(other.worst)}, median {decibels(other.median)}"
    if parity.agreement is not None:
        yield "equal decisions", show_named("agreement", parity.agreement)
    for name, measurement in parity.metrics.items():
        yield name, show_named(name, measurement)
    if parity.latency_ratio is not None:
        yield "latency", f"{show_named('latency_ratio', parity.latency_ratio)} that of ONNX Runtime"


def verdict(parity: Parity) -> RenderableType:
    """Whether the file computes what was measured; the first operator that differs."""
    text = "It computes what the ONNX model computes."
    style = "green"
    if not parity.passed:
        text = f"It differs from the ONNX model: at least {decibels(parity.required)} is required."
        style = "bold red"
    first = parity.first_difference
    if first is not None:
        text += (
            f" The first operator that differs on the worst input is {first.op_type} "
            f"'{first.operator}': {decibels(first.decibels)}, {decibels(first.before)} before it."
        )
    return styled(text, style)


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|PROJECT[:VARIANT]",
            help="Path of an ONNX file, zoo:NAME, or a project of packlight fit: its best variant, "
            "or the one named.",
        ),
    ],
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="F", help="coreai, coreml, litert, executorch, openvino, ort or onnx."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="New folder for the bundle.")
    ],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="T", help=f"Inputs of the comparison: {TASK_HELP}"),
    ] = None,
    bind: Annotated[
        list[str] | None,
        typer.Option(
            "--bind",
            metavar="NAME=VALUE",
            help="Size of an open dimension (batch=1), shape of an input (ids=1,128) or its value "
            "(sr=16000). Repeatable.",
        ),
    ] = None,
    expand: Annotated[
        bool,
        typer.Option(
            "--expand", help="Store weights as floats where the format has no such codes."
        ),
    ] = False,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, help="Inputs to compare on.")
    ] = 100,
    parity: Annotated[
        bool, typer.Option("--parity/--no-parity", help="Run the file and compare it.")
    ] = True,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="Option of the format. Repeatable."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Write the format of a device's runtime, and prove that it computes the same.

    Weights keep their encoding; what a format cannot hold is refused by name. The file is read
    again and run on inputs of the task; exit code 1 if it differs from the ONNX model. The folder
    holds the file, its record, a model card, examples, licenses and the recipe.

    \b
    Examples:
      packlight export model.onnx --to coreai -o bundle
      packlight export m-packlight --to litert -o bundle --task data.npz
      packlight export m-packlight:weights:8 --to openvino -o bundle
      packlight export model.onnx --to coreml -o bundle --bind batch=1 --bind sr=16000
    """
    with working() as progress:
        from packlight.api.export import export as export_model

        bundle = export_model(
            model,
            to,
            out,
            task=task,
            bind=bind or (),
            expand=expand,
            samples=samples,
            parity=parity,
            format_options=option or (),
            seed=seed,
            progress=progress,
        )
    if as_json:
        print_json(bundle)
    else:
        say(screen(), *bundle_parts(bundle))
    return judged(passed=bundle.parity is None or bundle.parity.passed)
