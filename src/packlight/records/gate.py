"""Budgets that a new model is checked against: the record that a CI job acts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from packlight.records.display import Displayed, Tabular
from packlight.records.measurement import Measurement, Meets

Unclear = Literal["fail", "pass", "estimate"]
"""Treatment of a budget whose bound lies in the interval: fail it, pass it, or use the estimate."""


@dataclass(frozen=True, slots=True)
class CheckedBudget:
    """One budget, judged.

    Attributes:
        budget: its text.
        metric: name of the measurement that was judged.
        bound: in the measurement's unit, tolerance included.
        measurement: of the new model.
        base: of the base; None where it was not measured.
        meets: ``yes``, ``unclear`` or ``no``.
        passed: whether the check accepts it.
        samples_needed: about how many samples (for a latency, runs) decide it; None where it is
            decided, or where the estimate lies on the bound.
    """

    budget: str
    metric: str
    bound: float
    measurement: Measurement
    base: Measurement | None
    meets: Meets
    passed: bool
    samples_needed: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Gate(Displayed, Tabular):
    """Budgets of a new model against its base.

    Attributes:
        base: name of the reference.
        new: name of the model that is checked.
        task: name of the task; empty where no budget needs one.
        samples: evaluated; 0 where none was.
        passed: whether every budget passed.
        budgets: each, judged.
        unclear: treatment of undecided budgets.
        tolerance: share by which every bound was widened.
        notes: sentences about the data and the models.
    """

    VERSION: ClassVar[int] = 1
    TITLE: ClassVar[str] = "check"

    base: str
    new: str
    task: str
    samples: int
    passed: bool
    budgets: tuple[CheckedBudget, ...]
    unclear: Unclear = "fail"
    tolerance: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateRun:
    """One line of a history file.

    Attributes:
        time: when, in UTC, as ``2026-03-01T12:00:00+00:00``.
        gate: the budgets.
    """

    VERSION: ClassVar[int] = 1
    TITLE: ClassVar[str] = "run of a check"

    time: str
    gate: Gate
