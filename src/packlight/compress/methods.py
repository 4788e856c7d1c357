"""The table of methods."""

from __future__ import annotations

from typing import Any

from packlight.compress import (
    dynamic,
    equalise,
    float16,
    palette,
    sparse,
    static,
    tidy,
    weights,
)
from packlight.errors import RecipeError
from packlight.method import Method

METHODS: dict[str, Method[Any, Any]] = {
    method.name: method
    for method in (
        tidy.METHOD,
        equalise.METHOD,
        float16.METHOD,
        weights.METHOD,
        palette.METHOD,
        sparse.METHOD,
        static.METHOD,
        dynamic.METHOD,
    )
}


def method(name: str) -> Method[Any, Any]:
    """A method by its name.

    Raises:
        RecipeError: there is none of this name.
    """
    if name not in METHODS:
        raise RecipeError(f"there is no method '{name}'; there are {', '.join(METHODS)}")
    return METHODS[name]
