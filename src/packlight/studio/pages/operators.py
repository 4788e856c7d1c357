"""Content of Operators and Diff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from packlight.records.measurement import How
from packlight.studio.pages.overview import Number

MatchStatus = Literal["same", "changed", "removed", "added"]


@dataclass(frozen=True, slots=True)
class ColumnTitle:
    """A column of numbers of the operator table.

    Attributes:
        name: of the column.
        title: for people.
        unit: SI unit; ``%`` for shares.
        how: counted, measured or estimated.
        total: of all rows; None where a sum means nothing.
        tip: a sentence about it.
    """

    name: str
    title: str
    unit: str
    how: How
    total: float | None
    tip: str


@dataclass(frozen=True, slots=True)
class OperatorsPage:
    """Where size, time and memory go, column by column.

    Attributes:
        model: id.
        name: of the model.
        names: of operators, in the order they run.
        ops: types.
        modules: path of the module of each; empty at the top.
        files: of source code, in short.
        lines: in those files; 0 where unknown.
        bounds: what the time of each is bound by.
        storage: what was changed of each, in words; empty where nothing was.
        starts: second at which each begins in one run, from the column ``time``.
        columns: titles, in order.
        numbers: by column; None where unknown.
        device: that times were predicted for; empty where they were measured.
        notes: on the counts.
        peak: operator that runs while most memory is needed.
    """

    model: str
    name: str
    names: tuple[str, ...]
    ops: tuple[str, ...]
    modules: tuple[str, ...]
    files: tuple[str, ...]
    lines: tuple[int, ...]
    bounds: tuple[str, ...]
    storage: tuple[str, ...]
    starts: tuple[float, ...]
    columns: tuple[ColumnTitle, ...]
    numbers: Mapping[str, tuple[float | None, ...]]
    device: str
    notes: tuple[str, ...]
    peak: str


@dataclass(frozen=True, slots=True)
class GraphPage:
    """A layered drawing of operators and folded modules.

    Attributes:
        labels: of nodes.
        kinds: ``module`` or the type of the operator.
        modules: path of a folded module, or of the operator's.
        x: center of each node.
        y: center of each node.
        first: first operator in each node.
        counts: operators in each node.
        owners: index of the node of each operator.
        sources: start of each edge, as an index of a node.
        targets: end of each edge.
        width: of the drawing.
        height: of the drawing.
        open: modules that are unfolded.
        foldable: every module that can be unfolded.
    """

    labels: tuple[str, ...]
    kinds: tuple[str, ...]
    modules: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    first: tuple[int, ...]
    counts: tuple[int, ...]
    owners: tuple[int, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    width: float
    height: float
    open: tuple[str, ...]
    foldable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodePage:
    """Lines of source code round one line.

    Attributes:
        file: in short.
        line: that is meant.
        first: number of the first line shown.
        lines: of code; empty where the file cannot be read.
        problem: why there are none, and what to do; empty if there are.
    """

    file: str
    line: int
    first: int
    lines: tuple[str, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One operator in one or both models.

    Attributes:
        status: of the match.
        first: index in the first model; -1 where it has none.
        second: index in the second model; -1 where it has none.
        fields: columns that differ.
        note: what a recipe made of it, in words; empty where none did.
    """

    status: MatchStatus
    first: int
    second: int
    fields: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class DiffPage:
    """Two models operator by operator.

    Attributes:
        first: operators of the first model.
        second: operators of the second model.
        rows: matched, in order.
        counts: rows by status.
        totals: by name, of the first and of the second model.
        ops: by type, number in the first and in the second model, where they differ.
    """

    first: OperatorsPage
    second: OperatorsPage
    rows: tuple[DiffRow, ...]
    counts: Mapping[str, int]
    totals: Mapping[str, tuple[Number, ...]]
    ops: Mapping[str, tuple[int, ...]]
