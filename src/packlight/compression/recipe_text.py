"""Recipes as users give them: in short, as a TOML or JSON file, as configs, or as a value."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from packlight.errors import InputError, RecipeError
from packlight.records import Recipe, Step, parse_recipe, recipe_of
from packlight.records.configs import Config
from packlight.records.recipe_file import recipe_from_data

AnyRecipe = str | Path | Recipe | Sequence[Step | Config]
"""What stands for a recipe: its text, a preset's name, a file, a value, or configs in order."""

READERS: Mapping[str, Callable[[str], object]] = {".toml": tomllib.loads, ".json": json.loads}
"""What reads a recipe's file, by the suffix of its name."""


def read_recipe(recipe: AnyRecipe, seed: int = 0) -> Recipe:
    """The recipe that a user gave.

    Args:
        recipe: the name of a preset; steps in short, as ``simplify+weights:4,block=32``; the path
            of a ``.toml`` or ``.json`` file with ``steps``, each a ``method`` with ``config`` and
            ``where``; configs, or steps, in order; or a recipe, which is returned as it is.
        seed: of everything random in the steps; a recipe, or a file that states a ``seed``, keeps
            its own.

    Raises:
        RecipeError: the text or the file has another form, or names what does not exist.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Path):
        check_file_name(str(recipe))
        return read_file(recipe, seed)
    if not isinstance(recipe, str):
        return recipe_of(recipe, seed)
    if suffix(recipe) in READERS:
        return read_file(Path(recipe), seed)
    if suffix(recipe)[1:].isalpha() and not FIRST.split(recipe)[0].strip().isidentifier():
        check_file_name(recipe)
    return parse_recipe(recipe, seed)


FIRST = re.compile("[:,+]")
"""What ends the name of a recipe's first method."""


def suffix(text: str) -> str:
    """Of a file's name, in small letters."""
    return Path(text).suffix.lower()


def check_file_name(name: str) -> None:
    """Refuse a file whose suffix is not that of a recipe."""
    if suffix(name) not in READERS:
        raise RecipeError(f"a recipe file ends in {' or '.join(READERS)}; got '{name}'")


def recipe_name(recipe: AnyRecipe) -> str:
    """What a variant made by this recipe is called: the steps in short, or the file's name."""
    if isinstance(recipe, Path):
        return recipe.stem
    if not isinstance(recipe, str):
        return read_recipe(recipe).text()
    if suffix(recipe) in READERS:
        return Path(recipe).stem
    return recipe


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
        return recipe_from_data(data, seed)
    except RecipeError:
        raise
    except InputError as error:
        raise RecipeError(
            f"the recipe '{path}' must hold 'steps', each with 'method', 'config' and 'where': "
            f"{error}"
        ) from error
