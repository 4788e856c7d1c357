"""A recipe: ordered steps, each a method's config and where it applies.

As text: steps joined by ``+``, each ``method[:bits][,option=value]...``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote

from packlight.errors import RecipeError
from packlight.records.configs import Config
from packlight.records.method_config import MethodConfig
from packlight.records.name_pattern import check_pattern, name_pattern
from packlight.records.recipe_options import (
    PRESETS,
    Option,
    config_class,
    config_of,
    short_options,
    text_options,
)
from packlight.records.recipe_toml import recipe_toml

ESCAPES = str.maketrans({mark: f"%{ord(mark):02X}" for mark in "%+, "})
"""What separates steps and options is written as in web addresses inside a value."""

NAME_ESCAPES = {**ESCAPES, ord("|"): "%7C"}
"""The same inside the name of a site, which is one of several."""


@dataclass(frozen=True, slots=True)
class Step:
    """One method, applied to the sites whose operator's name matches.

    Attributes:
        config: of the method.
        where: regular expression searched in the operator's name, empty for everywhere; or the
            names of operators, which are kept sorted. Steps in a row that name their operators and
            only replace weights are one pass: weights are rounded in the order in which they run.

    Raises:
        RecipeError: ``where`` is no regular expression, or the method works on the whole model.
    """

    config: Config
    where: str | tuple[str, ...] = ""

    def __post_init__(self) -> None:
        if not isinstance(self.config, MethodConfig):
            raise RecipeError(
                f"a step holds a method's config, as WeightOnly(bits=4); got {self.config!r}"
            )
        if not isinstance(self.where, str):
            object.__setattr__(self, "where", site_names(self.where))
        if self.where and self.config.whole_model:
            raise RecipeError(f"'{self.method}' works on the whole model; leave out where=")
        if isinstance(self.where, str):
            check_pattern("where", self.where)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the operators; empty where a regular expression stands for them."""
        if isinstance(self.where, str):
            return ()
        return self.where

    def applies_to(self, operator: str) -> bool:
        """Tell if the step is for the operator of a name."""
        if isinstance(self.where, str):
            return bool(name_pattern(self.where).search(operator))
        return operator in self.where

    @property
    def method(self) -> str:
        """Name of the method, as recipes write it."""
        return self.config.kind

    def text(self) -> str:
        """The step as ``parse_step`` reads it, without options that have their defaults."""
        options = short_options(self.config)
        head = self.method
        if "bits" in options:
            head += f":{show(options.pop('bits'))}"
        parts = [f"{name}={show(value)}" for name, value in sorted(options.items())]
        if self.sites:
            names = (name.translate(NAME_ESCAPES) for name in self.sites)
            parts.append(f"sites={'|'.join(names)}")
        elif isinstance(self.where, str) and self.where:
            parts.append(f"where={show(self.where)}")
        return ",".join([head, *parts])


def site_names(names: object) -> tuple[str, ...]:
    """Names of operators, sorted, each once.

    Raises:
        RecipeError: they are no texts, or there are none.
    """
    listed: list[str] = list(names) if isinstance(names, list | tuple) else []
    if not listed or not all(isinstance(name, str) and name for name in listed):
        raise RecipeError(
            f"where= is a regular expression, or a list of names of operators; got {names!r}"
        )
    return tuple(sorted(set(listed)))


@dataclass(frozen=True, slots=True)
class Recipe:
    """Ordered steps; later steps see what earlier ones made.

    Attributes:
        steps: at least none: an empty recipe is the model as it came.
        seed: of everything random in the steps.
    """

    VERSION: ClassVar[int] = 2

    steps: tuple[Step, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise RecipeError(f"a seed is at least 0; got {self.seed}")

    def text(self) -> str:
        """The recipe as ``parse_recipe`` reads it, without options that have their defaults.

        ``original`` where there are no steps.
        """
        return "+".join(step.text() for step in self.steps) or "original"

    def __str__(self) -> str:
        """The recipe as a TOML file."""
        return recipe_toml(self)

    @property
    def is_by_site(self) -> bool:
        """True if a step names its operators."""
        return any(step.sites for step in self.steps)


def recipe_of(steps: Iterable[Step | Config], seed: int = 0) -> Recipe:
    """A recipe of configs, or of steps where a config is not for all operators.

    Raises:
        RecipeError: an entry is neither.
    """
    return Recipe(tuple(step if isinstance(step, Step) else Step(step) for step in steps), seed)


def parse_recipe(text: str, seed: int = 0) -> Recipe:
    """Read the shorthand of a recipe, or the name of a preset.

    Raises:
        RecipeError: the text has another form, or names a method, an option or a value that does
            not exist.

    >>> parse_recipe("simplify+weights:4,block=32").steps[1]
    Step(config=WeightOnly(bits=4, granularity=PerBlock(size=32)), where='')
    """
    if text == "original":
        return Recipe((), seed)
    return Recipe(tuple(parse_step(step) for step in PRESETS.get(text, text).split("+")), seed)


def parse_step(text: str) -> Step:
    """Read one step: ``method[:bits][,option=value]...``."""
    head, *parts = text.split(",")
    method, colon, bits = (part.strip() for part in head.partition(":"))
    if not method.isidentifier():
        raise RecipeError(f"a step starts with a method, as in 'weights:4'; got '{text}'")
    options = {"bits": bits} if colon else {}
    for part in parts:
        name, equals, value = (piece.strip(" ") for piece in part.partition("="))
        if not equals or not name:
            raise RecipeError(f"an option is 'name=value'; step '{text}' has '{part}'")
        if name in options:
            raise RecipeError(f"an option is given once; step '{text}' has '{name}' twice")
        options[name] = value if name == "sites" else unquote(value)
    where = _where(text, options)
    texts = text_options(config_class(method))
    values = {
        name: value if name in texts else read_option(value) for name, value in options.items()
    }
    return Step(config_of(method, values), where)


def _where(text: str, options: dict[str, str]) -> str | tuple[str, ...]:
    """Take ``where`` or ``sites`` out of the options of a step."""
    where = options.pop("where", "")
    names = options.pop("sites", "")
    if not names:
        return where
    if where:
        raise RecipeError(f"a step has where= or sites=, not both; got '{text}'")
    return tuple(unquote(name) for name in names.split("|"))


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
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0").translate(ESCAPES)
    return str(value).translate(ESCAPES)
