"""Recipes as users write them: in short, or as a TOML or JSON file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from packlight.compress import canonical_recipe
from packlight.errors import InputError, RecipeError
from packlight.records import Recipe, from_json, parse_recipe
from packlight.workflow.presets import PRESETS

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
    if Path(text).suffix in READERS:
        return canonical_recipe(read_file(Path(text), seed))
    return canonical_recipe(parse_recipe(PRESETS.get(text, text), seed))


def recipe_name(text: str) -> str:
    """What a variant made by this recipe is called: the steps in short, or the file's name."""
    return Path(text).stem if Path(text).suffix in READERS else text


def read_file(path: Path, seed: int) -> Recipe:
    """The recipe in a file."""
    try:
        data = READERS[path.suffix](path.read_text("utf-8"))
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
