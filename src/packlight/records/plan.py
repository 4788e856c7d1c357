"""Feasibility on a device, by route, before training and without data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from packlight.records.advice import Advice
from packlight.records.display import Displayed
from packlight.records.measurement import Measurement, Meets
from packlight.records.variant import Refusal

Needs = Literal["no data", "calibration samples", "many samples"]
Takes = Literal["seconds", "minutes"]


@dataclass(frozen=True, slots=True)
class Effort:
    """Effort that a route takes.

    Attributes:
        needs: what must be at hand beside the model.
        takes: how long it takes on a usual machine.
    """

    needs: Needs
    takes: Takes


@dataclass(frozen=True, slots=True)
class Damage:
    """Usual effect of a route on quality: a published range, not a promise.

    Attributes:
        text: what was seen.
        source: by whom, on what.
    """

    text: str
    source: str


CHOSEN = "as chosen"
"""The route of choices for single operators."""

RUNTIME = "runtime"
"""Key among the budgets for a device that has no runtime for a route."""


def worst(meets: Mapping[str, Meets]) -> Meets:
    """The verdict on all budgets together.

    >>> worst({"size<=2MB": "yes", "latency<=8ms": "unclear"})
    'unclear'
    """
    order: tuple[Meets, ...] = ("yes", "unclear", "no")
    return max(meets.values(), key=order.index, default="yes")


@dataclass(frozen=True, slots=True)
class PlanOption:
    """One route, with what it would give.

    Attributes:
        name: of the route.
        recipe: that takes it, in short.
        predicted: ``size``, ``download``, ``latency``, ``latency_ratio``, ``peak_memory`` and
            ``energy``, as far as the device is described; only the size is exact.
        meets: by budget as it was written; ``unclear`` where the interval spans it, or where it
            can only be measured.
        changed: operators whose weights or arithmetic change.
        refusals: places that the route leaves as they are, and operators that the device's runtime
            lacks.
        effort: what it costs the team.
        damage: what it usually does to quality.
        notes: what else to know of this route for this model.
    """

    name: str
    recipe: str
    predicted: Mapping[str, Measurement]
    meets: Mapping[str, Meets]
    changed: int
    refusals: tuple[Refusal, ...]
    effort: Effort
    damage: Damage
    notes: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Tell whether the route learns, from unlabelled samples, what it lost."""
        return self.effort.needs == "many samples"

    @property
    def verdict(self) -> Meets:
        """Verdict on the budgets that can be predicted."""
        return worst(self.meets)


@dataclass(frozen=True, slots=True, repr=False)
class Plan(Displayed):
    """Feasibility of a model on a device.

    Attributes:
        model: name.
        device: name of the device, and of the unit of it that computes.
        budgets: as they were written; the device's own limits where none were.
        original: what the model costs as it is.
        options: every route that was looked at, in the order of ``ROUTES``.
        feasible: whether a route meets every budget.
        recommendation: in sentences.
        shrink: where nothing suffices, by budget the share of its cost that the architecture may
            have at most.
        meets: by budget, whether the model keeps it as it is.
        lessons: of practitioners, that this plan calls for.
    """

    VERSION: ClassVar[int] = 3

    model: str
    device: str
    budgets: tuple[str, ...]
    original: Mapping[str, Measurement]
    options: tuple[PlanOption, ...]
    feasible: Meets
    recommendation: tuple[str, ...]
    shrink: Mapping[str, float]
    meets: Mapping[str, Meets] = field(default_factory=dict)
    lessons: tuple[Advice, ...] = ()

    @property
    def verdict(self) -> Meets:
        """Verdict on the uncompressed model."""
        return worst(self.meets)
