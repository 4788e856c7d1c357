"""Base of the configs of all methods: options are checked when a config is made."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from packlight.errors import RecipeError
from packlight.records.codec import said, types_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MethodConfig:
    """Base of all configs: options are checked against their annotations.

    ``repr`` shows the options that differ from their defaults.
    """

    kind: ClassVar[str] = ""
    whole_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    def __repr__(self) -> str:
        options = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(options)})"


CalibrationData = Literal["samples", "augmented", "synthetic"]
"""Samples that a step learns from."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CalibratedConfig(MethodConfig):
    """Base of the configs of methods that can learn from calibration samples.

    Attributes:
        calibration: what is learned from, where anything is: the task's ``samples``; these and
            changed copies of them (``augmented``), for images, sound and token ids; or
            ``synthetic`` samples that are made from the model, which need no task.
    """

    calibration: CalibrationData = "samples"


def option_types(cls: type[MethodConfig]) -> Mapping[str, object]:
    """Annotations of a config's fields, resolved."""
    return types_of(cast("Hashable", cls))


def check_fields(config: MethodConfig) -> None:
    """Refuse values that an annotation does not allow; whole numbers for a float become floats.

    Raises:
        RecipeError: a value has another type, or is not among the choices.
    """
    hints = option_types(type(config))
    for field in dataclasses.fields(config):
        kind = hints[field.name]
        value = getattr(config, field.name)
        if kind is float and type(value) is int:
            object.__setattr__(config, field.name, float(value))
        else:
            check_value(f"{config.kind},{field.name}=", value, kind)


def check_value(option: str, value: object, kind: object) -> None:
    """Refuse a value of one option.

    Args:
        option: its name, as errors begin with it.
        value: what it is set to.
        kind: a type, a ``Literal``, or a union of granularities.
    """
    choices = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise RecipeError(f"{option} is one of {', '.join(map(str, choices))}; got '{value}'")
    elif choices:
        if not isinstance(value, choices):
            names = ", ".join(f"{choice.__name__}()" for choice in choices)
            raise RecipeError(f"{option} is one of {names}; got {value!r}")
    elif type(value) is not kind:
        raise RecipeError(f"{option} takes {said(kind)}; got '{value}'")
