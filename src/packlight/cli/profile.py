"""``packlight profile``: size, arithmetic, memory and latency by operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from packlight.cli.screen import print_record, working
from packlight.cli.tables import (
    UNKNOWN,
    counts,
    plain_table,
    stacked,
    styled,
    unless_unknown,
    write_rows,
)
from packlight.errors import InputError
from packlight.presentation.numbers import show_bytes, show_named, show_value
from packlight.presentation.source_paths import short_names
from packlight.records import Measurement, OperatorCost, Profile, SourceLine

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

MAX_NOTES = 5
"""Notes and operators of unknown cost that are shown."""

SOURCE_WIDTH = 30
"""Columns for the source line of an operator."""

CUT = ".."
STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
LABELS = {
    "macs": "MACs",
    "other_ops": "other operations",
    "weight_bytes": "weights",
    "loaded_bytes": "weights in memory",
    "size": "file",
    "peak_activation_bytes": "peak activations",
    "arena_bytes": "arena size",
    "latency": "latency",
    "profiling_ratio": "profiler overhead",
    "between_kernels": "idle between kernels",
    "predicted_latency": "latency on {device}",
    "predicted_memory": "peak memory on {device}",
}
LOWER_BOUNDS = ("macs", "other_ops")
"""Totals without the operators of unknown cost."""


def profile_parts(profile: Profile, top: int) -> list[RenderableType]:
    """Totals, the most expensive operators, notes and operators of unknown cost."""
    parts: list[RenderableType] = [counts(total_rows(profile)), operators_table(profile, top)]
    hidden = len(profile.operators) - top
    if hidden > 0:
        parts.append(styled(f"{hidden:,} more operators: --top {len(profile.operators)}", "dim"))
    unknown = [f"Not counted: {reason}" for reason in profile.unknown]
    return [
        *parts,
        *shorten(profile.notes, "notes", "dim"),
        *shorten(unknown, "not counted", "yellow"),
    ]


def shorten(sentences: Sequence[str], noun: str, style: str) -> list[Text]:
    """The first sentences, and the number of the remaining ones."""
    lines = [styled(sentence, style=style) for sentence in sentences[:MAX_NOTES]]
    hidden = len(sentences) - MAX_NOTES
    if hidden > 0:
        lines.append(styled(f"and {hidden} more {noun}, with --json"))
    return lines


def total_rows(profile: Profile) -> Iterator[tuple[str, str]]:
    """Totals with their labels, and the shapes of the inputs."""
    totals = dict(profile.totals)
    if totals.get("loaded_bytes") == totals.get("weight_bytes"):
        totals.pop("loaded_bytes", None)
    for name, m in totals.items():
        yield LABELS.get(name, name).format(device=profile.device), show_total(profile, name, m)
    for name, sizes in profile.inputs.items():
        shape = " x ".join("?" if size is None else str(size) for size in sizes)
        yield f"input {name}", shape or "1 number"


def show_total(profile: Profile, name: str, m: Measurement) -> str:
    """A total as text."""
    if m.how == "estimated" and name in LOWER_BOUNDS:
        if m.value:
            return f"at least {show_count(m.value)}"
        return "unknown"
    if m.how == "counted" and m.unit == "1":
        return show_count(m.value)
    if name == "peak_activation_bytes" and profile.peak_operator:
        return f"{show_named(name, m)}, at {profile.peak_operator}"
    return show_named(name, m)


def operators_table(profile: Profile, top: int) -> Table:
    """The operators with the largest shares of the time, or of one cost, the largest first."""
    cost, share = shares(profile)
    ranked = sorted(profile.operators, key=share, reverse=True)[:top]
    files = short_names(operator.source.file for operator in profile.operators if operator.source)
    columns = [column for column in COLUMNS if column.is_shown(profile)]
    heads = (column.head for column in columns)
    share_head = "share" if _is_timed(profile) else f"share of {cost}"
    table = plain_table("operator", "type", *heads, share_head, texts=2)
    for operator in ranked:
        if share(operator) or not _is_timed(profile):
            cells = (column.cell(operator) for column in columns)
            name = title(operator, files)
            table.add_row(name, type_and_runs(operator), *cells, f"{share(operator):.0%}")
    return table


def _is_measured(profile: Profile) -> bool:
    return "latency" in profile.totals


def _is_predicted(profile: Profile) -> bool:
    return bool(profile.device)


def _is_timed(profile: Profile) -> bool:
    return _is_measured(profile) or _is_predicted(profile)


SHARED = {"macs": "MACs", "weight_bytes": "weights", "activation_bytes": "bytes moved"}
"""Costs that shares are of: the first that is known of all operators, and is not 0."""


def shares(profile: Profile) -> tuple[str, Callable[[OperatorCost], float]]:
    """A cost, and each operator's share of it: shares of all operators add to 1.

    It is the measured time, else the predicted, else the first of ``SHARED``.
    """
    cost, numbers = _shared_cost(profile)
    by_operator = {
        id(operator): number for operator, number in zip(profile.operators, numbers, strict=True)
    }
    total = sum(numbers) or 1
    return cost, lambda operator: by_operator[id(operator)] / total


def _shared_cost(profile: Profile) -> tuple[str, Sequence[float]]:
    operators = profile.operators
    if _is_timed(profile):
        name = "latency" if _is_measured(profile) else "predicted"
        times = [getattr(operator, name) for operator in operators]
        return "time", [m.value if m else 0.0 for m in times]
    for name, label in SHARED.items():
        numbers = [getattr(operator, name) for operator in operators]
        if None not in numbers and any(numbers):
            return label, numbers
    return "weights", [operator.weight_bytes for operator in operators]


def title(operator: OperatorCost, files: Mapping[str, str]) -> Text:
    """An operator's name, with its source line below."""
    if operator.source is None:
        return styled(operator.name)
    line = ""
    if operator.source.file:
        line = cut_path(f"{files[operator.source.file]}:{operator.source.line}", "/")
    module = cut_path(operator.source.module, ".")
    lines = [part for part in (line, module) if part]
    if len(line) + len(module) < SOURCE_WIDTH:
        lines = [" ".join(lines)] if lines else []
    return stacked(operator.name, *(styled(part, "dim") for part in lines))


def type_and_runs(operator: OperatorCost) -> str:
    """An operator's type, and its number of runs unless that is 1."""
    if operator.at_load:
        return f"{operator.op} at load"
    if operator.runs != 1:
        return f"{operator.op} x{operator.runs:,}"
    return operator.op


def show_weights(operator: OperatorCost) -> str:
    """Bytes of an operator's weights."""
    size = show_bytes(operator.weight_bytes)
    if operator.shared:
        return f"{size} shared"
    return size


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the operators' table: head, text of a cell, and condition on the profile."""

    head: str
    cell: Callable[[OperatorCost], str]
    is_shown: Callable[[Profile], bool]


def column(
    head: str,
    show: Callable[[Any], str],
    field: str,
    is_shown: Callable[[Profile], bool] = lambda _: True,
) -> Column:
    """A column of a field of operators that may be unknown."""
    return Column(head, lambda operator: unless_unknown(show, getattr(operator, field)), is_shown)


def _has_no_times(profile: Profile) -> bool:
    return not _is_timed(profile)


def show_count(number: float) -> str:
    """A count with three digits.

    >>> show_count(10_941_280), show_count(940)
    ('10.9 M', '940')
    """
    size, letter = next(((s, text) for s, text in STEPS if number >= s), (1.0, ""))
    return f"{number / size:.3g} {letter}".rstrip()


COLUMNS = (
    column("MACs", show_count, "macs"),
    column("other", show_count, "other_ops", _has_no_times),
    Column("weights", show_weights, lambda of: not (_is_measured(of) and _is_predicted(of))),
    column("reads", show_bytes, "activation_bytes_in", _has_no_times),
    column("writes", show_bytes, "activation_bytes_out", _has_no_times),
    column("time", show_value, "latency", _is_measured),
    column("predicted", show_value, "predicted", _is_predicted),
    Column("bound by", lambda operator: operator.bound or UNKNOWN, _is_predicted),
)
"""Columns of the operators' table; times leave less room for costs."""


def cut_path(path: str, separator: str) -> str:
    """A path without its first parts if it is too long.

    >>> cut_path("bert.encoder.layer.0.intermediate.dense", ".")
    '..layer.0.intermediate.dense'
    """
    end = path
    while len(end) + len(CUT) > SOURCE_WIDTH and separator in end:
        end = end.partition(separator)[2]
    if len(path) <= SOURCE_WIDTH or end == path:
        return path
    return f"{CUT}{end}"


NESTED = {"source": SourceLine, "latency": Measurement, "predicted": Measurement}
"""Fields that are records; each of their fields is a column."""


def headings() -> list[str]:
    """Columns of the CSV file: fields, or ``latency_value`` and so on for records."""
    names = list[str]()
    for field in dataclasses.fields(OperatorCost):
        if field.name in NESTED:
            inner = dataclasses.fields(NESTED[field.name])
            names += [f"{field.name}_{part.name}" for part in inner]
        else:
            names.append(field.name)
    return names


def csv_row(operator: OperatorCost) -> dict[str, object]:
    """An operator's costs by column, without unknown records."""
    costs = dataclasses.asdict(operator)
    for name in NESTED:
        record = costs.pop(name) or {}
        costs |= {f"{name}_{key}": value for key, value in record.items()}
    return costs


def write_csv(profile: Profile, path: Path) -> None:
    """Write one row per operator with all its costs."""
    heads = headings()
    rows = [csv_row(operator) for operator in profile.operators]
    write_rows(path, heads, [[row.get(name, "") for name in heads] for row in rows])


def profile(
    model: ModelName,
    *,
    task: ShapeTask = None,
    inputs: Inputs = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Operators to show.")] = 15,
    download: Annotated[
        bool, typer.Option("--download", help="Also count the bytes of a download.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the model and measure the time of each operator.")
    ] = False,
    threads: MeasuredThreads = None,
    seconds: MeasuredSeconds = None,
    device: OnDevice = "",
    unit: OnUnit = "",
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="OUT.csv", help="Write one row per operator."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show where size, arithmetic, memory and latency go.

    Counts each operator without running the model: multiply-accumulates (MACs), other operations,
    weights, bytes read and written, and its Python line if PyTorch's exporter stored it. --measure
    runs the model and adds each operator's time on this machine, fused operators included. --device
    predicts the time on a device, and whether arithmetic, memory or call overhead limits it.

    \b
    Examples:
      packlight profile model.onnx --top 20
      packlight profile model.onnx --input image=1,3,224,224 --csv costs.csv
      packlight profile encoder.onnx --input ids=1,128 --input mask=1,128
      packlight profile model.onnx --measure --threads 2
      packlight profile model.onnx --device pixel-8
    """
    if not measure and (threads, seconds) != (None, None):
        raise InputError("--threads and --seconds set how latency is measured: add --measure")
    with working():
        from packlight import SessionOptions
        from packlight import profile as profile_model

        result = profile_model(
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
        write_csv(result, csv)
    print_record(result, lambda costs: profile_parts(costs, top), as_json=as_json)
    return DONE
