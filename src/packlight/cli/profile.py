"""``packlight profile``: where size, arithmetic, memory and time go."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from packlight.cli.exit_codes import DONE
from packlight.cli.options import (
    Inputs,
    Json,
    MeasuredSeconds,
    MeasuredThreads,
    ModelName,
    OnDevice,
    OnUnit,
    ShapeTask,
)
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import UNKNOWN, counts, plain_table
from packlight.errors import InputError
from packlight.presentation.numbers import show_bytes, show_named, show_value
from packlight.profiling import short_names
from packlight.records import Measurement, OperatorCost, Profile, SourceLine

SHARED = ("macs", "other_ops", "weight_bytes", "activation_bytes")
MOST = 5
"""Notes, and operators that are not known, to show."""

ROOM, CUT = 30, ".."
"""Columns for the line that an operator comes from, and what stands for what is left out."""

STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
LABELS = {
    "macs": "MACs",
    "other_ops": "other operations",
    "weight_bytes": "weights",
    "loaded_bytes": "weights once loaded",
    "size": "file",
    "peak_activation_bytes": "activations at most",
    "arena_bytes": "in one block",
    "latency": "time of a run here",
    "profiling_ratio": "of that while profiled",
    "between_kernels": "between kernels then",
    "predicted_latency": "time of a run on {device}",
}
AT_LEAST = ("macs", "other_ops")
"""Totals that leave out what is not known."""


def profile_parts(found: Profile, top: int) -> list[RenderableType]:
    """Totals, the operators that take the largest shares, and what is not known."""
    left = len(found.operators) - top
    note = f"{left:,} more operators: --top {len(found.operators)}" if left > 0 else ""
    return [
        counts(total_rows(found)),
        operators_table(found, top),
        *([Text(note, style="dim")] if note else []),
        *first(found.notes, "notes", "dim"),
        *first([f"Not counted: {told}" for told in found.unknown], "not counted", "yellow"),
    ]


def first(told: Iterable[str], what: str, style: str) -> list[Text]:
    """The first of some sentences, and how many are left."""
    lines = [Text(line, style=style) for line in told]
    more = len(lines) - MOST
    return [*lines[:MOST], *([Text(f"and {more} more {what}, with --json")] if more > 0 else [])]


def total_rows(found: Profile) -> Iterator[tuple[str, str]]:
    """Totals as they read best, and what they were counted for."""
    for name, m in found.totals.items():
        bound = "at least " if m.how == "estimated" and name in AT_LEAST else ""
        plain = bound or (m.how == "counted" and m.unit == "1")
        text = short(m.value) if plain else show_named(name, m)
        same = name == "loaded_bytes" and m == found.totals["weight_bytes"]
        if name == "peak_activation_bytes" and found.peak_operator:
            text += f", at {found.peak_operator}"
        if not same:
            yield (
                LABELS.get(name, name).format(device=found.device),
                bound + text if m.value else "not known" if bound else text,
            )
    for name, sizes in found.inputs.items():
        yield f"input {name}", " x ".join("?" if n is None else str(n) for n in sizes) or "1 number"


def operators_table(found: Profile, top: int) -> Table:
    """The operators with the largest share of the time, or of anything, in the order they run."""
    share = shares(found)
    ranked = sorted(found.operators, key=share, reverse=True)[:top]
    chosen = {id(one) for one in ranked if share(one) or not is_timed(found)}
    files = short_names(one.source.file for one in found.operators if one.source)
    columns = [column for column in COLUMNS if column.shown(found)]
    table = plain_table("operator", "type", *(column.head for column in columns), "share", left=2)
    for one in found.operators:
        if id(one) in chosen:
            cells = (column.cell(one) for column in columns)
            table.add_row(title(one, files), kind(one), *cells, f"{share(one):.0%}")
    return table


def is_measured(found: Profile) -> bool:
    """Whether times of operators were measured."""
    return "latency" in found.totals


def is_predicted(found: Profile) -> bool:
    """Whether times of operators were predicted."""
    return bool(found.device)


def is_timed(found: Profile) -> bool:
    """Whether there are times of any kind."""
    return is_measured(found) or is_predicted(found)


def shares(found: Profile) -> Callable[[OperatorCost], float]:
    """An operator's share of the measured time, else of the predicted, else its largest of all."""
    if is_timed(found):
        name = "latency" if is_measured(found) else "predicted"
        times = {id(one): getattr(one, name) for one in found.operators}
        seconds = {key: m.value if m else 0.0 for key, m in times.items()}
        all_of_it = sum(seconds.values()) or 1
        return lambda one: seconds[id(one)] / all_of_it
    costs = {name: [getattr(one, name) for one in found.operators] for name in SHARED}
    whole = {name: sum(values) or 1 for name, values in costs.items() if None not in values}
    return lambda one: max(float(getattr(one, name)) / total for name, total in whole.items())


def title(one: OperatorCost, files: Mapping[str, str]) -> Text:
    """An operator's name, and the line that it comes from below it."""
    place = where(one.source, files)
    return Text.assemble(one.name, *([("\n" + place, "dim")] if place else []))


def kind(one: OperatorCost) -> str:
    """An operator's type, and how often it runs where that is not once."""
    once = " at load" if one.at_load else f" x{one.runs:,}" if one.runs != 1 else ""
    return f"{one.op}{once}"


def weights(one: OperatorCost) -> str:
    """Bytes of an operator's weights."""
    return f"{show_bytes(one.weight_bytes)}{' shared' if one.shared else ''}"


def optional_count(number: int | None) -> str:
    """A count that may not be known."""
    return UNKNOWN if number is None else short(number)


def optional_time(m: Measurement | None) -> str:
    """Seconds that may not be known."""
    return UNKNOWN if m is None else show_value(m)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers: its head, what it says of an operator, and in which profiles it is."""

    head: str
    cell: Callable[[OperatorCost], str]
    shown: Callable[[Profile], bool]


COLUMNS = (
    Column("MACs", lambda one: optional_count(one.macs), lambda _: True),
    Column("other", lambda one: optional_count(one.other_ops), lambda of: not is_timed(of)),
    Column("weights", weights, lambda of: not (is_measured(of) and is_predicted(of))),
    Column("reads", lambda it: optional_bytes(it.activation_bytes_in), lambda of: not is_timed(of)),
    Column(
        "writes", lambda it: optional_bytes(it.activation_bytes_out), lambda of: not is_timed(of)
    ),
    Column("time", lambda one: optional_time(one.latency), is_measured),
    Column("predicted", lambda one: optional_time(one.predicted), is_predicted),
    Column("bound by", lambda one: one.bound or UNKNOWN, is_predicted),
)  # fmt: skip
"""What is shown of an operator; with times there is less room for what it costs."""


def where(source: SourceLine | None, files: Mapping[str, str]) -> str:
    """The line of Python and the module that an operator comes from."""
    if source is None:
        return ""
    line = tail(f"{files[source.file]}:{source.line}", "/") if source.file else ""
    module = tail(source.module, ".")
    return f"{line}{' ' if len(line) + len(module) < ROOM else chr(10)}{module}".strip()


def tail(path: str, mark: str) -> str:
    """A path without its first parts, as far as it needs to be shorter.

    >>> tail("bert.encoder.layer.0.intermediate.dense", ".")
    '..layer.0.intermediate.dense'
    """
    rest = path
    while len(rest) + len(CUT) > ROOM and mark in rest:
        rest = rest.partition(mark)[2]
    return path if len(path) <= ROOM or rest == path else CUT + rest


def optional_bytes(size: int | None) -> str:
    """Bytes that may not be known."""
    return UNKNOWN if size is None else show_bytes(size)


def short(number: float) -> str:
    """A count with three digits.

    >>> short(10_941_280), short(940)
    ('10.9 M', '940')
    """
    size, letter = next(((s, text) for s, text in STEPS if number >= s), (1.0, ""))
    return f"{number / size:.3g} {letter}".rstrip()


def write_csv(found: Profile, path: Path) -> None:
    """Write a row for each operator, with all that is known of it.

    Raises:
        InputError: the file is no ``.csv``, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"a table is written to a file whose name ends in .csv; got '{path}'")
    rows = [csv_row(one) for one in found.operators]
    names = [name for field in dataclasses.fields(OperatorCost) for name in headings(field.name)]
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}") from error


NESTED = {"source": SourceLine, "latency": Measurement, "predicted": Measurement}
"""Columns that are records; each of their fields has a column of its own."""


def headings(name: str) -> list[str]:
    """The columns of a field: itself, or ``latency_value`` and so on where it is a record."""
    inner = NESTED.get(name)
    return [f"{name}_{one.name}" for one in dataclasses.fields(inner)] if inner else [name]


def csv_row(one: OperatorCost) -> dict[str, object]:
    """An operator's costs by column; what is not known is empty."""
    costs = dataclasses.asdict(one)
    records = {name: costs.pop(name) or {} for name in NESTED}
    inner = {f"{name}_{key}": cell for name, form in records.items() for key, cell in form.items()}
    return {**costs, **inner}


def profile(
    model: ModelName,
    *,
    task: ShapeTask = None,
    inputs: Inputs = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Operators to show.")] = 15,
    download: Annotated[
        bool, typer.Option("--download", help="Count the bytes of a download too.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the model, and measure where its time goes.")
    ] = False,
    threads: MeasuredThreads = None,
    seconds: MeasuredSeconds = None,
    device: OnDevice = "",
    unit: OnUnit = "",
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="OUT.csv", help="Write a row for each operator."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show where size, arithmetic, memory and time go.

    Operator by operator, counted without running the model: multiply-accumulates (MACs), other
    operations, weights, what is read and written, and the line of Python that each comes from,
    where PyTorch's exporter noted it. --measure runs the model and adds the time that each operator
    takes on this machine, with what ONNX Runtime fused into it. --device adds the time that each
    would take there, and whether arithmetic, memory or the call itself bounds it.

    \b
    Examples:
      packlight profile model.onnx --top 20
      packlight profile model.onnx --input image=1,3,224,224 --csv costs.csv
      packlight profile encoder.onnx --input ids=1,128 --input mask=1,128
      packlight profile model.onnx --measure --threads 2
      packlight profile model.onnx --device pixel-8
    """
    if not measure and (threads, seconds) != (None, None):
        raise InputError("--threads and --seconds say how times are measured; give --measure too")
    with working():
        from packlight import SessionOptions
        from packlight import profile as count

        found = count(
            model,
            task,
            inputs=inputs or (),
            download=download,
            measure=measure,
            device=device,
            unit=unit,
            options=SessionOptions(threads=threads or 1),
            seconds=seconds or 2.0,
        )
    if csv is not None:
        write_csv(found, csv)
    if as_json:
        print_json(found)
    else:
        say(screen(), *profile_parts(found, top))
    return DONE
