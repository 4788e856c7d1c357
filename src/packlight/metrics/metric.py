"""What a metric is: a row of numbers for each sample, and a total of rows.

Rows are kept, outputs are not: a bootstrap draws rows again without running the model again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.records.budget import COSTS, LOSSES
from packlight.records.codec import digest
from packlight.records.measurement import Unit

Outputs = Mapping[str, NDArray[np.generic]]
Rows = NDArray[np.float64]
Decisions = NDArray[np.generic]
Truths = NDArray[np.bool_]
Form = Literal["classes", "sequences", "vectors", "values"]

RESERVED = {
    *COSTS, *LOSSES, "latency_p90", "latency_p99", "latency_ratio", "latency_reference",
}  # fmt: skip


def equal(decisions: Decisions, target: object) -> Truths:
    """Whether each of a sample's decisions (m,) is its target, a value or m values."""
    wanted = np.asarray(target).reshape(-1)
    if wanted.size != decisions.size:
        raise TaskError(
            f"a sample has one target for each decision; it has {wanted.size} targets "
            f"and the model decides {decisions.size}. Give each sample targets of that number"
        )
    return np.asarray(decisions == wanted, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Metric:
    """How good outputs are, as a number that can be drawn again by bootstrap.

    Attributes:
        name: an identifier; budgets and tables use it.
        row: outputs of one sample and its target -> vector (k,), the same k for all samples.
        total: rows (n, k) -> the metric.
        higher_is_better: the direction.
        bounded: values lie in [0, 1], so that a drop is told in absolute points; else a drop is
            relative to the reference.
        against: whether ``target`` is the task's, or the outputs of the reference.
        formula: column sums (..., k) -> totals (...), where the total depends on rows only by
            their sum; it makes the bootstrap fast. None for ranks and other functions of all rows.
        decide: outputs -> decisions (m,), nearly always one; None where nothing is decided.
        right: decisions (m,) and target -> whether each is right (m,).
        scores: whether the first output holds a score for each class.
        unit: of the total.
    """

    name: str
    row: Callable[[Outputs, object], Rows]
    total: Callable[[Rows], float]
    higher_is_better: bool = True
    bounded: bool = False
    against: Literal["target", "reference"] = "target"
    formula: Callable[[Rows], Rows] | None = None
    decide: Callable[[Outputs], Decisions] | None = None
    right: Callable[[Decisions, object], Truths] = equal
    scores: bool = False
    unit: Unit = "1"

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in RESERVED:
            raise TaskError(
                f"a metric's name is an identifier that is not a cost or a loss; got '{self.name}'"
            )

    @property
    def form(self) -> Form:
        """What kind of output is judged, which decides how change is told beside the drop."""
        if self.scores:
            return "classes"
        if self.decide is not None:
            return "sequences"
        return "vectors" if self.against == "reference" else "values"

    @property
    def code(self) -> str:
        """Digest of what decides its numbers, so that another metric of this name is told apart."""
        stated = [self.higher_is_better, self.bounded, self.against, self.unit]
        made = (self.row, self.total, self.formula, self.decide, self.right)
        return digest([stated, *(written(function) for function in made)])

    def worsening(self, before: float, after: float) -> float:
        """How much worse ``after`` is, in the metric's own unit; negative where it is better."""
        return before - after if self.higher_is_better else after - before


def written(part: object, around: tuple[object, ...] = ()) -> list[object]:
    """What a function is made of, as plain values: its instructions, constants and closure.

    What it looks up elsewhere when it runs is not seen.
    """
    code = getattr(part, "__code__", part)
    if isinstance(part, tuple | frozenset):
        return [*sorted(map(repr, part))]
    if not isinstance(code, CodeType) or any(part is outer for outer in around):
        plain = isinstance(part, str | bytes | int | float | complex | None)
        return [repr(part) if plain else type(part).__qualname__]
    cells = [cell.cell_contents for cell in getattr(part, "__closure__", None) or ()]
    inner = (*code.co_consts, *(getattr(part, "__defaults__", None) or ()), *cells)
    parts = (written(each, (*around, part)) for each in inner)
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
    right: Callable[[Decisions, object], Truths] = equal,
    scores: bool = False,
    unit: Unit = "1",
) -> Metric:
    """A metric that is a function of the sums of its rows' columns."""

    def total(rows: Rows) -> float:
        return float(formula(rows.sum(axis=0)))

    return Metric(
        name, row, total, higher_is_better, bounded, against, formula, decide, right, scores, unit
    )


def ratio(sums: Rows) -> Rows:
    """First column over second (..., 2) -> (...): a mean where the second counts; 0 over 0 is 0."""
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] == 0, 1, sums[..., 1]))


def primary(outputs: Outputs) -> NDArray[np.generic]:
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
