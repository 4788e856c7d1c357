"""Definition of a metric: a row of numbers for each sample, and a total of rows.

Rows are stored instead of outputs, so a bootstrap needs no further run of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.extra import versions
from packlight.records.budget import COSTS, LOSSES, ON_DEVICE
from packlight.records.codec import digest
from packlight.records.measurement import Unit

Outputs = Mapping[str, NDArray[np.generic]]
Rows = NDArray[np.float64]
Decisions = NDArray[np.generic]
Truths = NDArray[np.bool_]
Form = Literal["classes", "sequences", "vectors", "values"]

RESERVED = {
    *COSTS, *LOSSES, *ON_DEVICE.values(),
    "latency_p90", "latency_p99", "latency_ratio", "latency_reference",
}  # fmt: skip


def _equal(decisions: Decisions, target: object) -> Truths:
    """Test whether each decision (m,) of a sample equals its target, a value or m values."""
    expected = np.asarray(target).reshape(-1)
    if expected.size != decisions.size:
        raise TaskError(
            f"a sample has one target for each decision; it has {expected.size} targets "
            f"and the model decides {decisions.size}. Give each sample targets of that number"
        )
    return np.asarray(decisions == expected, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of quality whose interval a bootstrap over rows can compute.

    Attributes:
        name: an identifier; budgets and tables use it.
        row: outputs of one sample and its target -> vector (k,), the same k for all samples.
        total: rows (n, k) -> the metric; raises UndefinedError where these have none.
        higher_is_better: the direction.
        bounded: values lie in [0, 1], so that a drop is absolute; else a drop is relative to the
            reference.
        against: source of ``target``: the task, or the outputs of the reference.
        formula: column sums (..., k) -> totals (...), where the total depends on rows only by
            their sum; it makes the bootstrap fast. None for ranks and other functions of all rows.
        decide: outputs -> decisions (m,), nearly always one; None for a metric without decisions.
        right: decisions (m,) and target -> True for each correct one (m,).
        scores: True if the first output holds a score for each class.
        unit: of the total.
        ragged: rows may differ in length; tables fill them with zeros at the end.
        needs: optional packages that it uses, as pip names them.
    """

    name: str
    row: Callable[[Outputs, object], Rows]
    total: Callable[[Rows], float]
    higher_is_better: bool = True
    bounded: bool = False
    against: Literal["target", "reference"] = "target"
    formula: Callable[[Rows], Rows] | None = None
    decide: Callable[[Outputs], Decisions] | None = None
    right: Callable[[Decisions, object], Truths] = _equal
    scores: bool = False
    unit: Unit = "1"
    ragged: bool = False
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in RESERVED:
            raise TaskError(
                f"a metric's name is an identifier that is not a cost or a loss; got '{self.name}'"
            )

    @property
    def form(self) -> Form:
        """Kind of output, which decides how change is reported in addition to the drop."""
        if self.scores:
            return "classes"
        if self.decide is not None:
            return "sequences"
        if self.against == "reference":
            return "vectors"
        return "values"

    @property
    def code(self) -> str:
        """Digest of its definition, which distinguishes metrics of one name."""
        settings = [self.higher_is_better, self.bounded, self.against, self.unit]
        functions = (self.row, self.total, self.formula, self.decide, self.right)
        return digest([settings, *versions(self.needs), *map(_code_parts, functions)])

    def worsening(self, before: float, after: float) -> float:
        """Difference by which ``after`` is worse, in the metric's unit; negative where better."""
        if self.higher_is_better:
            return before - after
        return after - before


def _code_parts(part: object, enclosing: tuple[object, ...] = ()) -> list[object]:
    """Instructions, constants and closure of a function, as plain values.

    Globals that it looks up when it runs are not followed.
    """
    code = getattr(part, "__code__", part)
    if isinstance(part, tuple | frozenset):
        return [*sorted(map(repr, part))]
    if not isinstance(code, CodeType) or any(part is outer for outer in enclosing):
        plain = isinstance(part, str | bytes | int | float | complex | None)
        return [repr(part) if plain else type(part).__qualname__]
    cells = [cell.cell_contents for cell in getattr(part, "__closure__", None) or ()]
    inner = (*code.co_consts, *(getattr(part, "__defaults__", None) or ()), *cells)
    parts = (_code_parts(constant, (*enclosing, part)) for constant in inner)
    return [code.co_code.hex(), *code.co_names, *parts]


def of_sums(
    name: str,
    row: Callable[[Outputs, object], Rows],
    formula: Callable[[Rows], Rows],
    *,
    higher_is_better: bool = True,
    bounded: bool = False,
    against: Literal["target", "reference"] = "target",
    decide: Callable[[Outputs], Decisions] | None = None,
    right: Callable[[Decisions, object], Truths] = _equal,
    scores: bool = False,
    unit: Unit = "1",
    ragged: bool = False,
    needs: tuple[str, ...] = (),
) -> Metric:
    """A metric that is a function of the sums of its rows' columns."""

    def total(rows: Rows) -> float:
        return float(formula(rows.sum(axis=0)))

    return Metric(
        name, row, total, higher_is_better, bounded, against, formula, decide, right, scores, unit,
        ragged, needs,
    )  # fmt: skip


def ratio(sums: Rows) -> Rows:
    """First column over second (..., 2) -> (...): a mean where the second counts; 0 over 0 is 0."""
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] == 0, 1, sums[..., 1]))


def first_output(outputs: Outputs) -> NDArray[np.generic]:
    """The model's first output, which the metrics of the table read."""
    return next(iter(outputs.values()))


def numbers(values: object, what: str) -> Rows:
    """Values as a flat vector of float64.

    Raises:
        TaskError: they are not numbers.
    """
    try:
        return np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise TaskError(f"{what} must be numbers; got {values!r:.80}") from error
