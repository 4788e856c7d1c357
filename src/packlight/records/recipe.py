"""A recipe: ordered steps, each a method with its options and where it applies.

As text: steps joined by ``+``, each ``method[:bits][,option=value]...``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import unquote

from packlight.errors import RecipeError

Option = str | int | float | bool
ESCAPES = str.maketrans({mark: f"%{ord(mark):02X}" for mark in "%+, "})
"""What separates steps and options is written as in web addresses inside a value."""


@dataclass(frozen=True, slots=True)
class Step:
    """One method, applied to the sites whose operator's name matches.

    Attributes:
        method: a key of the table of methods.
        config: the method's options as plain values; those left out take their defaults.
        where: regular expression searched in the operator's name; empty means everywhere.
    """

    method: str
    config: Mapping[str, Option] = field(default_factory=dict)
    where: str = ""

    def text(self) -> str:
        """The step as ``parse_step`` reads it."""
        options = dict(self.config)
        bits = f":{options.pop('bits')}" if "bits" in options else ""
        rest = [f"{key}={show(value)}" for key, value in sorted(options.items())]
        rest += [f"where={show(self.where)}"] if self.where else []
        return ",".join([self.method + bits, *rest])


@dataclass(frozen=True, slots=True)
class Recipe:
    """Ordered steps; later steps see what earlier ones made.

    Attributes:
        steps: at least none: an empty recipe is the model as it came.
        seed: of everything random in the steps.
    """

    VERSION: ClassVar[int] = 1

    steps: tuple[Step, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise RecipeError(f"a seed is at least 0; got {self.seed}")

    def text(self) -> str:
        """The recipe as ``parse_recipe`` reads it; ``original`` where there are no steps."""
        return "+".join(step.text() for step in self.steps) or "original"


def parse_recipe(text: str, seed: int = 0) -> Recipe:
    """Read the shorthand of a recipe.

    Raises:
        RecipeError: a step has no method or an option has no value.

    >>> parse_recipe("tidy+weights:4,block=32").steps[1]
    Step(method='weights', config={'bits': 4, 'block': 32}, where='')
    """
    if text == "original":
        return Recipe((), seed)
    return Recipe(tuple(parse_step(step) for step in text.split("+")), seed)


def parse_step(text: str) -> Step:
    """Read one step: ``method[:bits][,option=value]...``."""
    head, *options = text.split(",")
    method, colon, bits = (part.strip() for part in head.partition(":"))
    if not method.isidentifier():
        raise RecipeError(f"a step starts with a method, as in 'weights:4'; got '{text}'")
    given = {"bits": bits} if colon else {}
    for option in options:
        key, equals, value = (part.strip(" ") for part in option.partition("="))
        if not equals or not key:
            raise RecipeError(f"an option is 'name=value'; step '{text}' has '{option}'")
        if key in given:
            raise RecipeError(f"an option is given once; step '{text}' has '{key}' twice")
        given[key] = unquote(value)
    where = given.pop("where", "")
    return Step(method, {key: read_option(value) for key, value in given.items()}, where)


def read_option(text: str) -> Option:
    """A value as the most exact plain type that it reads as."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def show(value: Option) -> str:
    """A value as ``read_option`` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value).translate(ESCAPES)
