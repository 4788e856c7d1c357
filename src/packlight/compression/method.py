"""Contract of every compression method."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import onnx_ir as ir

from packlight.errors import RecipeError
from packlight.records.codec import said
from packlight.records.recipe import Option
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

C = TypeVar("C")
S = TypeVar("S", bound="Site")


class Site(Protocol):
    """Part of a model that one method can change."""

    @property
    def operator(self) -> str:
        """Name of the operator, as it is shown and as ``where`` matches it."""


def sound(site: object) -> str:
    """What a method says of weights that it can take as they are."""
    del site
    return ""


def looks_at_nothing(config: object) -> bool:
    """Whether a method that needs no data looks at any."""
    del config
    return False


def as_given(options: Mapping[str, Option]) -> Mapping[str, Option]:
    """Options from which nothing follows."""
    return options


@dataclass(frozen=True, slots=True)
class Method(Generic[C, S]):
    """One way to compress.

    Deciding and doing are apart: ``sites`` is pure and returns data; ``apply`` edits the graph.

    Attributes:
        name: as recipes write it.
        summary: one line for people.
        config: the frozen dataclass of its options.
        opset: the least opset that can express what the method stores.
        sites: the places it can change, in the order they run, and the refusals.
        uses_data: whether a config needs calibration samples.
        apply: observes calibration samples where it uses data, as often as it needs; changes the
            sites in place; returns its changes and refusals.
        inspect: reads a site's weights and says what is wrong with them; empty when nothing is.
        implied: options that follow from those given.
        whole: it works on the model as a whole, so that ``where`` makes no sense.
        replaces: all it does is to store other weights, so that every value that is computed from
            inputs keeps its name and what it stands for. Steps of such methods one after the other
            are a run; their targets are the values of the graph before the first of them.
        makes_up: whether by a config each weight makes up for what those before it lost.
    """

    name: str
    summary: str
    config: type[C]
    opset: Callable[[C], int]
    sites: Callable[[ir.Model, C], Iterable[S | Refusal]]
    apply: Callable[[ir.Model, Sequence[S], Calibrator, C], list[Change | Refusal]]
    uses_data: Callable[[C], bool] = looks_at_nothing
    inspect: Callable[[S], str] = sound
    implied: Callable[[Mapping[str, Option]], Mapping[str, Option]] = as_given
    whole: bool = False
    replaces: bool = False
    makes_up: Callable[[C], bool] = looks_at_nothing

    def configured(self, options: Mapping[str, Option]) -> C:
        """The config of plain options, defaults filled in.

        Raises:
            RecipeError: an option is unknown or its value is not one it can have.
        """
        given = self.implied(options)
        hints = typing.get_type_hints(self.config)
        for name, value in given.items():
            if name not in hints:
                known = ", ".join(hints) or "no options"
                raise RecipeError(f"'{self.name}' has no option '{name}'; it has {known}")
            check_option(f"{self.name},{name}=", value, hints[name])
        return self.config(**given)

    def options(self, config: C) -> dict[str, Option]:
        """The plain options that give this config, all of them."""
        fields = dataclasses.fields(config)  # type: ignore[arg-type]
        return {field.name: getattr(config, field.name) for field in fields}


def check_option(what: str, value: Option, kind: object) -> None:
    """Refuse a value that an option's annotation does not allow."""
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    if choices and not any(value == one and type(value) is type(one) for one in choices):
        raise RecipeError(f"{what} is one of {', '.join(map(str, choices))}; got '{value}'")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return
    if isinstance(kind, type) and type(value) is not kind:
        raise RecipeError(f"{what} takes {said(kind)}; got '{value}'")
