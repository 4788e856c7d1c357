"""Recipes as users write them: in short, or as a TOML or JSON file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from packlight.compression import METHODS, canonical_recipe
from packlight.compression.presets import PRESETS
from packlight.errors import InputError, RecipeError
from packlight.records import Recipe, from_json, parse_recipe

READERS: Mapping[str, Callable[[str], object]] = {".toml": tomllib.loads, ".json": json.loads}
"""What reads a recipe's file, by the suffix of its name."""


def read_recipe(text: str, seed: int = 0) -> Recipe:
    """The recipe that a text names, with every option spelled out.

    Args:
        text: the name of a preset, steps in short, as ``tidy+weights:4,block=32``, or the path of
            a ``.toml`` or ``.json`` file with ``steps``, each a ``method`` with ``config`` and
            ``where``.
        seed: of everything random in the steps; a file that states a ``seed`` keeps its own.

    Raises:
        RecipeError: the text or the file has another form, or names what does not exist.
    """
    if suffix(text) in READERS:
        return known(read_file(Path(text), seed))
    if suffix(text)[1:].isalpha() and not FIRST.split(text)[0].strip().isidentifier():
        raise RecipeError(f"a recipe file ends in {' or '.join(READERS)}; got '{text}'")
    return known(parse_recipe(PRESETS.get(text, text), seed))


FIRST = re.compile("[:,+]")
"""What ends the name of a recipe's first method."""


def suffix(text: str) -> str:
    """Of a file's name, in small letters."""
    return Path(text).suffix.lower()


def known(recipe: Recipe) -> Recipe:
    """The recipe with every option spelled out, if its methods exist."""
    for step in recipe.steps:
        if step.method in PRESETS:
            raise RecipeError(
                f"'{step.method}' is a preset, and presets stand alone; "
                f"beside other steps write out its own: {PRESETS[step.method]}"
            )
        if step.method not in METHODS:
            raise RecipeError(
                f"there is no method '{step.method}'; there are {', '.join(METHODS)}, "
                f"and presets, which stand alone: {', '.join(PRESETS)}"
            )
    return canonical_recipe(recipe)


def recipe_name(text: str) -> str:
    """What a variant made by this recipe is called: the steps in short, or the file's name."""
    return Path(text).stem if suffix(text) in READERS else text


def read_file(path: Path, seed: int) -> Recipe:
    """The recipe in a file."""
    try:
        data = READERS[suffix(str(path))](path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"the recipe '{path}' cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(
            f"the recipe '{path}' must be {path.suffix[1:].upper()}; reading it gives: {error}"
        ) from error
    try:
        recipe = from_json(Recipe, data)
    except InputError as error:
        raise RecipeError(
            f"the recipe '{path}' must hold 'steps', each with 'method', 'config' and 'where': "
            f"{error}"
        ) from error
    return recipe if isinstance(data, dict) and "seed" in data else replace(recipe, seed=seed)
