"""The table of single samples, from which every quality metric can be recomputed."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import IO

import numpy as np

from packlight.disk import replacing
from packlight.errors import InputError
from packlight.task import SampleTable

Cell = str | int | float | bool | None
Columns = dict[str, list[Cell]]

CSV = ".csv"
PARQUET = ".parquet"


def check_format(out: Path) -> None:
    """Refuse a file of unknown format, or of a format that is not installed.

    Raises:
        InputError: naming what can be written.
    """
    if out.suffix == PARQUET:
        _arrow("pyarrow")
    elif out.suffix != CSV:
        raise InputError(f"a table of samples is OUT.csv or OUT.parquet; got '{out}'")


def _arrow(name: str) -> ModuleType:
    """Import a module of pyarrow, which packlight does not depend on.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            "a table in .parquet needs pyarrow, which is not installed. Run 'pip install pyarrow', "
            "or name a file that ends in .csv; it holds the same columns"
        ) from error


def write_samples(
    out: Path,
    models: Mapping[str, SampleTable],
    groups: Mapping[str, Sequence[str]],
    metric: str,
) -> None:
    """Write a row for each model and sample.

    Args:
        out: path; its ending selects the format.
        models: scores of single samples by model name, the reference first.
        groups: by column, the group of each sample.
        metric: name of the task's metric, whose rows become columns ``METRIC_0`` and so on.

    Raises:
        InputError: the path cannot be written, or its format is not supported.
    """
    check_format(out)
    columns = _columns_of(models, groups, metric)
    with replacing(out) as file:
        FORMATS[out.suffix](file, columns)


def _columns_of(
    models: Mapping[str, SampleTable], groups: Mapping[str, Sequence[str]], metric: str
) -> Columns:
    """Concatenate the tables of all models, column by column; None where a model has no number."""
    parts = [_model_columns(name, table, groups, metric) for name, table in models.items()]
    names = list(dict.fromkeys(name for part in parts for name in part))
    columns: Columns = {name: [] for name in names}
    for part in parts:
        empty: list[Cell] = [None] * len(part["model"])
        for name in names:
            columns[name] += part.get(name, empty)
    return columns


def _model_columns(
    name: str, table: SampleTable, groups: Mapping[str, Sequence[str]], metric: str
) -> Columns:
    """Columns of one model."""
    n = len(table.rows)
    columns: Columns = {"model": [name] * n, "sample": list(range(n))}
    columns.update({f"group_{column}": list(map(str, names)) for column, names in groups.items()})
    columns.update({f"{metric}_{i}": numbers(table.rows[:, i]) for i in range(table.rows.shape[1])})
    for key, rows in table.fidelity.items():
        columns.update({f"{key}_{i}": numbers(rows[:, i]) for i in range(rows.shape[1])})
    if table.owner.size:
        decided = {"decision": table.decisions, "right": table.right}
        values = {**decided, "confidence": table.confidence, **table.details}
        columns.update({key: _of_decisions(array, table) for key, array in values.items()})
    columns.update({key: numbers(values) for key, values in table.samples.items()})
    return columns


def numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[Cell]:
    """Numbers of samples (n,) as cells; None for NaN."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def _of_decisions(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], table: SampleTable
) -> list[Cell]:
    n = len(table.rows)
    if np.array_equal(table.owner, np.arange(n)):
        plain: list[Cell] = values.tolist()
        return plain
    ends = np.searchsorted(table.owner, np.arange(n + 1))
    return [json.dumps(values[ends[i] : ends[i + 1]].tolist()) for i in range(n)]


def _write_csv(file: IO[bytes], columns: Columns) -> None:
    text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    text.detach()


def _write_parquet(file: IO[bytes], columns: Columns) -> None:
    table = _arrow("pyarrow").table(columns)
    _arrow("pyarrow.parquet").write_table(table, file)


FORMATS = {CSV: _write_csv, PARQUET: _write_parquet}
"""Writers by file ending."""
