"""Recipes that ``fit`` tries by default, from lossless to costly.

Lossless recipes come first, then those without data, then those with calibration samples.
"""

from __future__ import annotations

from packlight.compression.recipe_text import AnyRecipe, read_recipe, recipe_name
from packlight.records import Recipe
from packlight.task import Task

WITHOUT_DATA = (
    "simplify",
    "simplify+float16",
    "simplify+weights:8",
    "simplify+weights:8,per=tensor",
    "simplify+weights:4,block=32",
    "simplify+weights:4",
)

WITH_DATA = (
    "best4",
    "simplify+static+weights:8",
    "simplify+static,range=percentile+weights:8",
    "simplify+static,first=float+weights:8",
    "simplify+static,per=tensor+weights:8",
)
"""``weights:8`` is for operators without an integer kernel, as recurrent ones and embeddings."""


def ladder(task: Task, seed: int) -> tuple[tuple[str, Recipe], ...]:
    """Name and recipe of everything to try."""
    texts = WITHOUT_DATA + (WITH_DATA if len(task.calibration) else ())
    return tuple(named(text, seed) for text in texts)


def named(recipe: AnyRecipe, seed: int) -> tuple[str, Recipe]:
    """A variant's name and its recipe."""
    return recipe_name(recipe), read_recipe(recipe, seed)
