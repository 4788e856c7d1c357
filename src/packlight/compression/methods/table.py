"""The table of methods."""

from __future__ import annotations

from typing import Any

from packlight.compression.method import Method
from packlight.compression.methods import (
    dynamic,
    equalize,
    float16,
    palette,
    simplify,
    sparse,
    static,
    weights,
)
from packlight.errors import RecipeError

METHODS: dict[str, Method[Any, Any]] = {
    method.name: method
    for method in (
        simplify.METHOD,
        equalize.METHOD,
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
