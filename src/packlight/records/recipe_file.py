"""Recipes in files: steps with a method and its options, or what ``to_json`` gives of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from packlight.errors import RecipeError
from packlight.records.codec import Json, from_json
from packlight.records.recipe import Recipe, Step
from packlight.records.recipe_options import Option, config_of


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """A step as people write it.

    Attributes:
        method: its name.
        config: options that differ from their defaults, named as in a recipe's text.
        where: regular expression searched in the operator's name; empty means everywhere.
        sites: names of operators, in place of ``where``.
    """

    TITLE: ClassVar[str] = "step"

    method: str
    config: Mapping[str, Option] = field(default_factory=dict)
    where: str = ""
    sites: tuple[str, ...] = ()

    def step(self) -> Step:
        """The step itself.

        Raises:
            RecipeError: it has both ``where`` and ``sites``, or names what does not exist.
        """
        if self.where and self.sites:
            raise RecipeError(f"a step has 'where' or 'sites', not both; '{self.method}' has both")
        return Step(config_of(self.method, self.config), self.sites or self.where)


@dataclass(frozen=True, slots=True)
class WrittenRecipe:
    """A recipe as people write it.

    Attributes:
        steps: in order.
        seed: of everything random in the steps.
    """

    TITLE: ClassVar[str] = "recipe"

    steps: tuple[WrittenStep, ...] = ()
    seed: int = 0


def recipe_from_data(data: Json, seed: int = 0) -> Recipe:
    """The recipe in the data of a TOML or JSON file.

    Args:
        data: ``steps``, each a ``method`` with ``config`` and ``where``, or the JSON of a record.
        seed: of everything random; data that states a ``seed`` keeps its own.

    Raises:
        InputError: the data has another form, or names what does not exist.
    """
    if is_record(data):
        recipe = from_json(Recipe, data)
    else:
        written = from_json(WrittenRecipe, data)
        recipe = Recipe(tuple(step.step() for step in written.steps), written.seed)
    return recipe if "seed" in data else replace(recipe, seed=seed)


def is_record(data: Json) -> bool:
    """Test for the JSON of a record, which states a schema or kinds of configs."""
    if not isinstance(data, dict):
        return False
    steps = data.get("steps")
    if not isinstance(steps, list):
        steps = []
    configs = [step.get("config") for step in steps if isinstance(step, dict)]
    tagged = any(isinstance(config, dict) and "kind" in config for config in configs)
    return tagged or "schema" in data
