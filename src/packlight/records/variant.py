"""A model made from a parent by a recipe, and what its making did and did not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from packlight.records.codec import digest
from packlight.records.display import Displayed
from packlight.records.method_config import CalibrationData
from packlight.records.reason_code import ReasonCode
from packlight.records.recipe import Recipe
from packlight.records.storage import Storage


@dataclass(frozen=True, slots=True)
class Refusal:
    """An operator that a method could have changed and did not.

    Attributes:
        operator: its name; empty where the refusal is of the model as a whole.
        code: the reason, for programs.
        reason: what is in the way, in terms of the model, for people.
        remedy: what the user can change; empty when nothing can be done.
        method: that refused.
    """

    operator: str
    code: ReasonCode
    reason: str
    remedy: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """An operator that a method changed.

    Attributes:
        operator: name of the operator.
        method: that changed it.
        storage: how its weights are stored or computed with now, or what else became of it.
        before: bytes of its weights before.
        after: bytes of its weights, scales and tables after.
    """

    operator: str
    method: str
    storage: Storage
    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class MadeCalibration:
    """Calibration samples that were made for steps of a recipe.

    Attributes:
        data: how they were made.
        samples: that steps learned from.
        collected: the task's own among them.
        kinds: of the inputs that were changed or made, as ``images``.
    """

    data: CalibrationData
    samples: int
    collected: int
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Variant(Displayed):
    """A model made from a parent by a recipe.

    Attributes:
        id: digest of parent, recipe and calibration data; never of timings or environment.
        parent: id of the variant it was made from; empty for an original.
        name: the recipe in short, or the name of the original.
        recipe: with every option spelled out.
        model: digest of the model's content.
        file: name of its file in the project; empty when not stored.
        calibration: digest of the data that the recipe saw; empty when it saw none.
        changes: what was changed.
        refusals: what could have been and was not.
        environment: versions of what made it.
        took: seconds.
        calibrations: samples that were made for its steps; empty where they learned from the task's
            own alone, or from none.
    """

    VERSION: ClassVar[int] = 2

    id: str
    parent: str
    name: str
    recipe: Recipe
    model: str
    file: str = ""
    calibration: str = ""
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    took: float = 0.0
    calibrations: tuple[MadeCalibration, ...] = ()


def variant_id(parent: str, recipe: Recipe, calibration: str) -> str:
    """The id that the same inputs always give."""
    return digest({"parent": parent, "recipe": recipe, "calibration": calibration})
