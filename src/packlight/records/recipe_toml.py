"""Recipes as the TOML files that ``read_recipe`` reads: one text for one recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from packlight.records.recipe_options import Option, short_options

if TYPE_CHECKING:
    from packlight.records.recipe import Recipe, Step

LINE = 96
"""Characters of a line of names, at most where there are several."""


def recipe_toml(recipe: Recipe) -> str:
    """A recipe as a TOML file: options that differ from their defaults, and names of sites."""
    parts = [_step_toml(step) for step in recipe.steps]
    if recipe.seed:
        parts.insert(0, f"seed = {recipe.seed}\n")
    return "\n".join(parts) or "steps = []\n"


def _step_toml(step: Step) -> str:
    lines = ["[[steps]]", f'method = "{step.method}"']
    options = short_options(step.config)
    if options:
        settings = (f"{name} = {_value(options[name])}" for name in sorted(options))
        lines.append(f"config = {{ {', '.join(settings)} }}")
    if step.sites:
        lines += ["sites = [", *_wrapped([_value(name) for name in step.sites]), "]"]
    elif step.where:
        lines.append(f"where = {_value(str(step.where))}")
    return "\n".join(lines) + "\n"


def _wrapped(texts: Sequence[str]) -> Iterator[str]:
    """Lines of a list, each as long as allowed."""
    line = ""
    for text in texts:
        if line and len(line) + len(text) + 2 > LINE:
            yield line
            line = ""
        line = f"{line} {text}," if line else f"  {text},"
    yield line


def _value(value: Option) -> str:
    """A value in TOML, whose texts are written as those of JSON are."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
