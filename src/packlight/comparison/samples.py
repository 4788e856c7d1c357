"""The table of single samples, from which every number about quality can be computed again."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from packlight.errors import InputError
from packlight.task import SampleTable

Cell = str | int | float | bool | None
Columns = dict[str, list[Cell]]

CSV, PARQUET = ".csv", ".parquet"


def check_format(out: Path) -> None:
    """Refuse a file that is of no known kind, or whose kind needs what is not installed.

    Raises:
        InputError: naming what can be written.
    """
    if out.suffix == PARQUET:
        arrow("pyarrow")
    elif out.suffix != CSV:
        raise InputError(f"a table of samples is OUT.csv or OUT.parquet; got '{out}'")


def arrow(name: str) -> ModuleType:
    """A module of pyarrow, which is no dependency of packlight.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            "a table in .parquet needs pyarrow, which is not installed. Run 'pip install pyarrow', "
            "or name a file that ends in .csv, which holds the same"
        ) from error


def write_samples(
    out: Path,
    models: Mapping[str, SampleTable],
    groups: Mapping[str, Sequence[str]],
    metric: str,
) -> None:
    """Write a row for each model and sample.

    Args:
        out: path, of which the ending says the format.
        models: what single samples did, by the model's name, the reference first.
        groups: by column, the group of each sample.
        metric: name of the task's metric, whose rows become columns ``METRIC_0`` and so on.

    Raises:
        InputError: the path cannot be written, or its format not be.
    """
    check_format(out)
    columns = columns_of(models, groups, metric)
    try:
        FORMATS[out.suffix](out, columns)
    except OSError as error:
        raise InputError(f"'{out}' cannot be written: {error.strerror}") from error


def columns_of(
    models: Mapping[str, SampleTable], groups: Mapping[str, Sequence[str]], metric: str
) -> Columns:
    """All tables below each other, column by column; None where a model has no such number."""
    parts = [one_model(name, table, groups, metric) for name, table in models.items()]
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {
        name: [cell for part in parts for cell in part.get(name, [None] * len(part["model"]))]
        for name in names
    }


def one_model(
    name: str, table: SampleTable, groups: Mapping[str, Sequence[str]], metric: str
) -> Columns:
    """The rows of one model, column by column."""
    n = len(table.rows)
    found: Columns = {"model": [name] * n, "sample": list(range(n))}
    found.update({f"group_{column}": list(map(str, names)) for column, names in groups.items()})
    found.update({f"{metric}_{i}": numbers(table.rows[:, i]) for i in range(table.rows.shape[1])})
    for key, rows in table.fidelity.items():
        found.update({f"{key}_{i}": numbers(rows[:, i]) for i in range(rows.shape[1])})
    if table.owner.size:
        decided = {"decision": table.decisions, "right": table.right}
        values = {**decided, "confidence": table.confidence, **table.details}
        found.update({key: of_decisions(array, table) for key, array in values.items()})
    found.update({key: numbers(values) for key, values in table.samples.items()})
    return found


def numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[Cell]:
    """Numbers of samples (n,) as cells; None where there is none."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def of_decisions(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], table: SampleTable
) -> list[Cell]:
    """Values of decisions (m,) as cells of samples: plain where each has one, else JSON lists."""
    n = len(table.rows)
    if np.array_equal(table.owner, np.arange(n)):
        plain: list[Cell] = values.tolist()
        return plain
    ends = np.searchsorted(table.owner, np.arange(n + 1))
    return [json.dumps(values[ends[i] : ends[i + 1]].tolist()) for i in range(n)]


def write_csv(out: Path, columns: Columns) -> None:
    """As text, numbers with all their digits, so that they come back as they were."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_parquet(out: Path, columns: Columns) -> None:
    """As Parquet, by pyarrow."""
    table = arrow("pyarrow").table(columns)
    arrow("pyarrow.parquet").write_table(table, out)


FORMATS = {CSV: write_csv, PARQUET: write_parquet}
"""What writes a file, by its ending."""
