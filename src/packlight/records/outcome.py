"""Result of a search: variants with their numbers, Pareto front, choice and missed budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from packlight.records.advice import Advice
from packlight.records.budget import Budget
from packlight.records.contrast import Contrast
from packlight.records.display import Displayed
from packlight.records.evaluation import Group
from packlight.records.exploration import Exploration
from packlight.records.finding import Finding
from packlight.records.machine import Machine
from packlight.records.measurement import Measurement, Meets
from packlight.records.session import SessionOptions
from packlight.records.variant import Change, Refusal

Verdict = Literal["fits", "undecided", "misses", "unjudged"]
"""All budgets together; ``unjudged`` where there are none."""


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One variant with all that was measured of it.

    Attributes:
        id: of the variant.
        parent: id of the variant it was made from; empty for the original.
        name: the recipe in short.
        recipe: as text, every option spelled out.
        file: path of the model relative to the project.
        meets: each budget by its text.
        verdict: of all budgets together.
        refusals: what could have been changed and was not.
        changes: what was changed.
        metrics: every measurement by name.
        groups: the metric and the drop in each group.
        labels: ``slower``, ``larger``, ``runtime differs`` and the like.
        error: why it could not be made or measured; empty when it could.
        same_as: id of an earlier result with the same model, whose measurements these are; empty
            where it is another model.
    """

    id: str
    parent: str
    name: str
    recipe: str
    file: str
    meets: Mapping[str, Meets] = field(default_factory=dict)
    verdict: Verdict = "misses"
    refusals: tuple[Refusal, ...] = ()
    changes: tuple[Change, ...] = ()
    metrics: Mapping[str, Measurement] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    labels: tuple[str, ...] = ()
    error: str = ""
    same_as: str = ""


@dataclass(frozen=True, slots=True)
class Miss:
    """A budget that no variant meets.

    Attributes:
        budget: its text.
        bound: in SI units.
        nearest: id of the variant that comes closest to all budgets.
        name: of that variant.
        found: its measurement.
        by: how far it is off: found minus bound for ``<=``, bound minus found for ``>=``.
    """

    budget: str
    bound: float
    nearest: str
    name: str
    found: Measurement
    by: float


@dataclass(frozen=True, slots=True, repr=False)
class Outcome(Displayed):
    """Result of ``fit``.

    Attributes:
        best: id of the chosen variant, or None.
        verdict: ``fits``, ``undecided`` (an interval spans a bound), ``misses``, or ``unjudged``
            where no budget was asked.
        misses: the budgets that stand in the way; empty when one fits.
        warnings: what makes the result less sure or less good than it looks, as a budget that is
            finer than the samples resolve.
        front: ids of the variants that no other beats on size, latency and drop at once.
        variants: the original first, then in the order they were tried.
        budget: what was asked.
        metric: name of the task's metric.
        detectable: minimum detectable drop at 80 % power; 0 where unknown.
        model: name of the original.
        task: name of the task.
        samples: evaluated.
        calibration: samples seen by the methods.
        session: how all were run.
        machine: where.
        project: folder.
        report: path of the report; empty when none was written.
        lessons: of practitioners, that these results call for.
        contrasts: what changed from the original, sample by sample: to the variant that is chosen
            or nearest, and where no budget was asked to each.
        findings: why that variant lost quality; empty where it surely did not lose any.
        planned: variants that the search tries, the original included; more than ``variants`` has
            where it was stopped.
        device: that latency, memory and energy are predicted for; empty without one.
        notes: what is worth knowing of the data, the model and the device, with nothing wrong.
        exploration: how the search chose; None where recipes were given.
    """

    VERSION: ClassVar[int] = 2

    best: str | None
    verdict: Verdict
    misses: tuple[Miss, ...]
    warnings: tuple[str, ...]
    front: tuple[str, ...]
    variants: tuple[VariantResult, ...]
    budget: Budget
    metric: str
    detectable: float
    model: str
    task: str
    samples: int
    calibration: int
    session: SessionOptions
    machine: Machine
    project: str
    report: str = ""
    lessons: tuple[Advice, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    findings: tuple[Finding, ...] = ()
    planned: int = 0
    device: str = ""
    notes: tuple[str, ...] = ()
    exploration: Exploration | None = None

    @property
    def nearest(self) -> str:
        """Id of the variant that comes closest to all budgets; empty where every budget is met."""
        if not self.misses:
            return ""
        return self.misses[0].nearest

    @property
    def finished(self) -> bool:
        """Tell if the search tried everything it planned."""
        return len(self.variants) >= self.planned
