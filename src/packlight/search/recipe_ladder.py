"""Recipes that ``fit`` tries by default, from lossless to costly.

Lossless recipes come first, then those without data, then those with calibration samples.
"""

from __future__ import annotations

from packlight.compression.recipe_text import read_recipe, recipe_name
from packlight.records import Recipe
from packlight.task import Task

WITHOUT_DATA = (
    "tidy",
    "tidy+float16",
    "tidy+weights:8",
    "tidy+weights:8,per=tensor",
    "tidy+weights:4,block=32",
    "tidy+weights:4",
)

WITH_DATA = (
    "best4",
    "tidy+static+weights:8",
    "tidy+static,range=percentile+weights:8",
    "tidy+static,first=float+weights:8",
    "tidy+static,per=tensor+weights:8",
)
"""``weights:8`` is for operators without an integer kernel, as recurrent ones and embeddings."""


def ladder(task: Task, seed: int) -> tuple[tuple[str, Recipe], ...]:
    """Short name and full recipe of everything to try."""
    texts = WITHOUT_DATA + (WITH_DATA if len(task.calibration) else ())
    return tuple(named(text, seed) for text in texts)


def named(text: str, seed: int) -> tuple[str, Recipe]:
    """What a variant is called, and its recipe with every option spelled out."""
    return recipe_name(text), read_recipe(text, seed)
