"""Records as rows of a pandas table, where pandas is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from packlight.errors import InputError
from packlight.records.comparison import Comparison, Flips
from packlight.records.contrast import Contrast
from packlight.records.evaluation import Evaluation
from packlight.records.finding import Findings
from packlight.records.gate import Gate
from packlight.records.measurement import Measurement
from packlight.records.profile import OperatorCost, Profile

Row = dict[str, object]


def to_dataframe(record: object) -> Any:
    """The rows of a record as a ``pandas.DataFrame``.

    Raises:
        InputError: pandas is not installed.
        KeyError: the record has no rows.
    """
    rows = ROWS[type(record)](record)
    return frame_of(rows)


def frame_of(rows: Iterable[Row]) -> Any:
    """Rows as a ``pandas.DataFrame``.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ModuleNotFoundError as error:
        raise InputError(
            "to_dataframe needs pandas, which is not installed: pip install pandas"
        ) from error
    return pandas.DataFrame(list(rows))


def columns_of(metrics: Mapping[str, Measurement]) -> Row:
    """Value, ``_low`` and ``_high`` of every measurement."""
    row: Row = {}
    for name, measurement in metrics.items():
        row[name] = measurement.value
        row[f"{name}_low"] = measurement.low
        row[f"{name}_high"] = measurement.high
    return row


def _profile_rows(profile: Profile) -> list[Row]:
    return [_operator_row(operator) for operator in profile.operators]


def _operator_row(operator: OperatorCost) -> Row:
    times = {"latency": operator.latency, "predicted": operator.predicted}
    return {
        "name": operator.name,
        "op": operator.op,
        "macs": operator.macs,
        "other_ops": operator.other_ops,
        "parameters": operator.parameters,
        "weight_bytes": operator.weight_bytes,
        "activation_bytes": operator.activation_bytes,
        "runs": operator.runs,
        "module": operator.origin.module,
        **{name: m.value if m else None for name, m in times.items()},
        "bound": operator.bound,
    }


def _comparison_rows(comparison: Comparison) -> list[Row]:
    flips = {counts.variant: counts for counts in comparison.flips}
    rows = []
    for result in (comparison.base, *comparison.others):
        row: Row = {"name": result.name, "verdict": result.verdict, **columns_of(result.metrics)}
        counts = flips.get(result.id)
        if counts is not None:
            row |= {"lost": counts.lost, "won": counts.won, "changed": counts.changed}
        rows.append(row)
    return rows


def _flips_rows(flips: Flips) -> list[Row]:
    return [
        {"column": group.partition("/")[0], "group": group.partition("/")[2], "net_lost": share}
        for group, share in flips.by_group.items()
    ]


def _contrast_rows(contrast: Contrast) -> list[Row]:
    return [
        {
            "column": group.column, "group": group.name, "n": group.n,
            **columns_of({"drop": group.drop}), "q": group.q, "standing": group.standing,
        }
        for group in contrast.groups
    ]  # fmt: skip


def _evaluation_rows(evaluation: Evaluation) -> list[Row]:
    return [
        {"metric": name, "value": m.value, "low": m.low, "high": m.high, "unit": m.unit, "n": m.n}
        for name, m in evaluation.metrics.items()
    ]


def _findings_rows(findings: Findings) -> list[Row]:
    return [
        {
            "cause": finding.cause, "severity": finding.severity, "harm": finding.harm,
            "operator": finding.operator, "sentence": finding.sentence,
            "next_step": finding.next_step,
        }
        for finding in findings
    ]  # fmt: skip


def _gate_rows(gate: Gate) -> list[Row]:
    return [
        {
            "budget": checked.budget, "passed": checked.passed, "meets": checked.meets,
            "bound": checked.bound, "value": checked.measurement.value,
            "low": checked.measurement.low, "high": checked.measurement.high,
        }
        for checked in gate.budgets
    ]  # fmt: skip


ROWS: Mapping[type, Callable[[Any], list[Row]]] = {
    Comparison: _comparison_rows,
    Contrast: _contrast_rows,
    Evaluation: _evaluation_rows,
    Findings: _findings_rows,
    Flips: _flips_rows,
    Gate: _gate_rows,
    Profile: _profile_rows,
}
"""Rows by type of record."""
