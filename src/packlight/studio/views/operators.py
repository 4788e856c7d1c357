"""Operators: where size, time and memory go, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from packlight.presentation.changes import describe_change
from packlight.presentation.source_paths import short_names
from packlight.records import Change, OperatorCost, Profile
from packlight.records.measurement import How
from packlight.studio.pages import ColumnTitle, OperatorsPage

Column = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ColumnKind:
    """A column that comes from a field of a profile.

    Attributes:
        name: of the column and the field.
        title: for people.
        unit: SI unit.
        tip: a sentence about it.
    """

    name: str
    title: str
    unit: str
    tip: str


COUNTED = (
    ColumnKind("macs", "MACs", "1", "Multiply-accumulates in one run."),
    ColumnKind("parameters", "Parameters", "1", "Stored numbers that training found."),
    ColumnKind("weight_bytes", "Weights", "B", "Bytes of weights in the file."),
    ColumnKind("loaded_bytes", "Read per run", "B", "Bytes of weights as read at every run."),
    ColumnKind("activation_bytes", "Activations", "B", "Bytes read and written that are computed."),
    ColumnKind("other_ops", "Other operations", "1", "Further arithmetic on single numbers."),
)

BITS_PER_BYTE = 8.0

TIME_TIPS: Mapping[How, str] = {
    "measured": "Seconds of one run, measured here.",
    "estimated": "Seconds of one run, predicted for the device.",
}


def operators_page(
    key: str,
    name: str,
    profile: Profile,
    modules: tuple[str, ...],
    *,
    changes: Sequence[Change] = (),
    sensitivity: Mapping[str, float] | None = None,
) -> OperatorsPage:
    """The operators of a model.

    Args:
        key: id of the model.
        name: of the model.
        profile: of the model, with predicted or measured times where there are any.
        modules: path of the module of each operator.
        changes: that a recipe made.
        sensitivity: noise over signal at the outputs by operator, where it was measured.
    """
    operators = profile.operators
    files = short_names(operator.source.file for operator in operators if operator.source)
    storage: dict[str, str] = {}
    for change in changes:
        storage[change.operator] = describe_change(change)
    numbers, columns = _columns(operators, sensitivity or {})
    seconds = [value or 0.0 for value in numbers.get("time", (0.0,) * len(operators))]
    return OperatorsPage(
        model=key,
        name=name,
        names=tuple(operator.name for operator in operators),
        ops=tuple(operator.op for operator in operators),
        modules=modules,
        files=tuple(files.get(operator.origin.file, "") for operator in operators),
        lines=tuple(operator.origin.line for operator in operators),
        bounds=tuple(operator.bound for operator in operators),
        storage=tuple(storage.get(operator.name, "") for operator in operators),
        starts=tuple(accumulate(seconds, initial=0.0))[:-1],
        columns=columns,
        numbers=numbers,
        device="" if has_measured_time(operators) else profile.device,
        notes=profile.notes,
        peak=profile.peak_operator,
    )


def has_measured_time(operators: Sequence[OperatorCost]) -> bool:
    """Tell whether operators were timed on this machine."""
    return any(operator.latency is not None for operator in operators)


def _columns(
    operators: Sequence[OperatorCost], sensitivity: Mapping[str, float]
) -> tuple[dict[str, Column], tuple[ColumnTitle, ...]]:
    """Numbers by column, and the titles of columns in order."""
    numbers: dict[str, Column] = {}
    titles: list[ColumnTitle] = []
    for kind in COUNTED:
        column = tuple(getattr(operator, kind.name) for operator in operators)
        numbers[kind.name] = column
        total = float(sum(value for value in column if value is not None))
        titles.append(ColumnTitle(kind.name, kind.title, kind.unit, "counted", total, kind.tip))
    seconds, how = _seconds(operators)
    if seconds:
        whole = sum(value or 0.0 for value in seconds)
        numbers["time"] = seconds
        numbers["time_share"] = tuple(
            None if value is None else value / (whole or 1.0) for value in seconds
        )
        titles[0:0] = [
            ColumnTitle("time_share", "Time share", "%", how, 1.0, "Share of the time of one run."),
            ColumnTitle("time", "Time", "s", how, whole, TIME_TIPS[how]),
        ]
    numbers["bits"] = tuple(map(_bits_each, operators))
    tip = "Bits in the file for each parameter, scales and tables included."
    titles.append(ColumnTitle("bits", "Bits each", "1", "counted", None, tip))
    if sensitivity:
        numbers["sensitivity"] = tuple(sensitivity.get(operator.name) for operator in operators)
        tip = "Noise over signal at the outputs when this operator alone has 4-bit weights."
        titles.append(ColumnTitle("sensitivity", "Sensitivity", "1", "measured", None, tip))
    return numbers, tuple(titles)


def _bits_each(operator: OperatorCost) -> float | None:
    """Bits in the file for each parameter; None without parameters."""
    if not operator.parameters or not operator.weight_bytes:
        return None
    return BITS_PER_BYTE * operator.weight_bytes / operator.parameters


def _seconds(operators: Sequence[OperatorCost]) -> tuple[Column, How]:
    """Seconds of each operator: measured where they were, else predicted; empty without either."""
    if has_measured_time(operators):
        return tuple(o.latency.value if o.latency else 0.0 for o in operators), "measured"
    if any(operator.predicted is not None for operator in operators):
        seconds = tuple(o.predicted.value if o.predicted else None for o in operators)
        return seconds, "estimated"
    return (), "estimated"
