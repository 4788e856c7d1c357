"""Forms in which ``fit`` may store the weights of an operator."""

from __future__ import annotations

from collections.abc import Sequence

from packlight.records import Recipe, Step, parse_recipe
from packlight.records.configs import Config
from packlight.search.device_costs import DeviceCosts

GRIDS = tuple(
    f"weights:{bits},range=moments,rounding=gptq,scales=16" for bits in (2, 3, 4, 5, 6, 7, 8)
)
"""A scale for each output channel."""

BLOCKS = tuple(
    f"weights:{bits},block=32,expand=load,range=moments,rounding=gptq,scales=16"
    for bits in (2, 3, 4)
)
"""A scale for every 32 inputs."""

SCALED_PALETTES = tuple(
    f"palette:{bits},rounding=gptq,scaled=true,scales=16,weighted=true" for bits in range(1, 9)
)
"""A table for each weight, and a scale for each output channel."""

PLAIN_PALETTES = tuple(f"palette:{bits},rounding=gptq,weighted=true" for bits in range(1, 8))
"""A table for each weight."""

GROUPED_PALETTES = tuple(
    f"palette:{bits},group=16,rounding=gptq,weighted=true" for bits in (2, 3, 4)
)
"""A table for every 16 output channels."""

FORMS: Sequence[str] = (
    "float16",
    *GRIDS,
    *BLOCKS,
    *SCALED_PALETTES,
    *PLAIN_PALETTES,
    *GROUPED_PALETTES,
)
"""All forms, as recipes write them."""


def form_config(form: str) -> Config:
    """The config of a form."""
    return parse_recipe(form).steps[0].config


def usable_forms(devices: Sequence[DeviceCosts]) -> tuple[str, ...]:
    """The forms that every device keeps."""
    return tuple(
        form
        for form in FORMS
        if all(costs.refusal(Recipe((Step(form_config(form)),))) is None for costs in devices)
    )
