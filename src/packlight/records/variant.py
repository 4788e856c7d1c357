"""A model made from a parent by a recipe, and what its making did and did not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from packlight.records.codec import digest
from packlight.records.display import Displayed
from packlight.records.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Refusal:
    """A place a method could have changed and did not.

    Attributes:
        operator: name of the operator.
        reason: what is in the way, in terms of the model.
        remedy: what the user can change; empty when nothing can be done.
        method: that refused.
    """

    operator: str
    reason: str
    remedy: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A place a method changed.

    Attributes:
        operator: name of the operator.
        method: that changed it.
        what: how it is stored or computed now.
        before: bytes of its weights before.
        after: bytes of its weights, scales and tables after.
    """

    operator: str
    method: str
    what: str
    before: int = 0
    after: int = 0


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
    """

    VERSION: ClassVar[int] = 1

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


def variant_id(parent: str, recipe: Recipe, calibration: str) -> str:
    """The id that the same inputs always give."""
    return digest({"parent": parent, "recipe": recipe, "calibration": calibration})
