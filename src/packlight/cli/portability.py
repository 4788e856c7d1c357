"""``packlight portability``: one file on other processors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE, RESUME, Stopped, interruption
from packlight.cli.options import Json, Limit, ModelName, Seconds, Seed, TaskName, Threads
from packlight.cli.screen import print_record, working
from packlight.cli.tables import notes, plain_table, stacked, styled
from packlight.presentation import portability as sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records.portability import Portability, ProcessorResult

MOST_OPERATORS = 8


def portability_parts(record: Portability) -> Iterator[RenderableType]:
    """A table of the processors; then for each, what differs and what to change."""
    yield styled(sentences.headline(record), style="bold")
    yield processors_table(record)
    for result in record.processors:
        head = styled(f"{result.name}: {result.title}", style="bold")
        costs = sentences.costs(result)
        yield stacked(head, *sentences.advice(result), *([costs] if costs else []))
        if result.operators:
            yield operators_table(result)
        yield from notes(sentences.notes(result))


def processors_table(record: Portability) -> Table:
    """Outputs, decisions and metric on each processor."""
    table = plain_table(*sentences.HEADS)
    for row in sentences.rows(record):
        table.add_row(*row)
    return table


def operators_table(result: ProcessorResult) -> Table:
    """Operators that differ, the noisiest ones in the order of the graph."""
    noisy = sorted(result.operators, key=lambda operator: operator.snr.value)[:MOST_OPERATORS]
    table = plain_table("operator", "kernel", "cause", "snr", "differ", "by", texts=3)
    for operator in result.operators:
        if operator in noisy:
            table.add_row(*sentences.difference_row(operator))
    if len(result.operators) > len(noisy):
        table.add_row(f"and {len(result.operators) - len(noisy)} more, with --json")
    return table


def portability(
    model: ModelName,
    *,
    task: TaskName,
    cpu: Annotated[
        str,
        typer.Option(
            "--cpu",
            metavar="NAMES",
            help="cortex-a53, cortex-a72, cortex-a76, neoverse-n1, x86-avx2; with commas between. "
            "[default: cortex-a76,x86-avx2, unless --agent is given]",
        ),
    ] = "",
    agent: Annotated[
        str,
        typer.Option(
            "--agent",
            metavar="HOST:PORT",
            help="A machine with an agent, or ssh:HOST; see `packlight devices agent`.",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="OUT.json", help="Also write the record; a stopped run resumes."
        ),
    ] = None,
    limit: Limit = 100,
    seed: Seed = 0,
    threads: Threads = 1,
    seconds: Seconds = 2.0,
    as_json: Json = False,
) -> int:
    """Run the same file on other processors and compare it with this machine.

    Arm processors are emulated, with ONNX Runtime's kernels for Arm: install the emulator once with
    `packlight devices emulate --install`. x86-avx2 stands for x86 processors without VNNI, where
    sums of 8-bit products can saturate. Operators that differ are found one by one.

    \b
    Examples:
      packlight portability int8.onnx --task data.npz --cpu x86-avx2
      packlight portability int8.onnx --task data.npz --agent pi:7431 -o pi.json
    """
    try:
        with working() as progress:
            from packlight import SessionOptions
            from packlight import portability as measure

            record = measure(
                model,
                task,
                cpus=tuple(name for name in cpu.split(",") if name),
                agent=agent,
                options=SessionOptions(threads=threads),
                limit=limit,
                seconds=seconds,
                seed=seed,
                out=out,
                progress=progress,
            )
    except BaseException as error:
        if out is None or interruption(error) is None:
            raise
        raise Stopped(f"results are saved beside '{out}'; {RESUME}") from error
    print_record(record, portability_parts, as_json=as_json)
    return DONE
