"""Routes to a smaller or faster model, with the effort of each, and choices per operator.

The usual damage comes from published tables and from ``benchmarks/RESULTS.md``: it is that of other
models. Only a measurement gives that of this one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from packlight.compression.methods.table import METHODS
from packlight.errors import RecipeError
from packlight.records.name_pattern import name_pattern
from packlight.records.plan import Damage, Effort
from packlight.records.recipe import Step, parse_recipe

Dtype = Literal["float32", "float16", "int8"]

STUDY = "coremltools documentation, ResNet50 on ImageNet"
SANDLER = "Sandler et al., CVPR 2018, and the weights published with it"
HALVED = (
    "2 to 5 points after training anew: MobileNetV2 at half its width has 65.4 % instead of 72.0"
)
OWN = "packlight's benchmarks/RESULTS.md, EfficientNet-Lite0"

SECONDS = Effort("no data", "seconds")
MINUTES = Effort("calibration samples", "minutes")
LEARNING = Effort("many samples", "minutes")


@dataclass(frozen=True, slots=True)
class Route:
    """One way to compress a model.

    Attributes:
        name: for people.
        recipe: of the route.
        stores: storage that a runtime must support: the data type of weights, ``palette`` or
            ``sparse``; empty where every runtime will do.
        computes: data type of the products.
        effort: data and time that it needs.
        damage: usual loss of quality.
    """

    name: str
    recipe: str
    stores: str
    computes: Dtype
    effort: Effort
    damage: Damage


ROUTES: tuple[Route, ...] = (
    Route(
        "16-bit floats", "float16", "float16", "float16", SECONDS,
        Damage("not noticeable: signal-to-noise ratio of 67 dB", "packlight, zoo:fashion"),
    ),
    Route(
        "8-bit weights", "weights:8", "int8", "float32", SECONDS,
        Damage("0.0 to 0.5 points for most; a fragile mobile network kept 89 % of its answers, "
               "with samples 98 %", OWN),
    ),
    Route(
        "8-bit integers", "static+weights:8", "int8", "int8", MINUTES,
        Damage("0.2 to 1.5 points; far more where one tensor has outliers, or where the CPU's sums "
               "saturate: the same file 74.8 % on one CPU and 69.0 % on another",
               "Intel Neural Compressor's table of validated models, ResNet50"),
    ),
    Route(
        "palettes of 6 bits", "palette:6", "palette", "float32", SECONDS,
        Damage("0.6 points (76.1 to 75.5 %)", STUDY),
    ),
    Route(
        "4-bit blocks", "weights:4,block=32", "int4", "float32", SECONDS,
        Damage("1 to 3 points for large networks, more for small ones; blocks of 32 cost a 1.3 "
               "billion parameter language model perplexity 16.1 to 17.0",
               "coremltools documentation, OPT-1.3B"),
    ),
    Route(
        "palettes of 4 bits", "palette:4", "palette", "float32", SECONDS,
        Damage("9 points without samples (76.1 to 66.8 %), under 1 point when trained", STUDY),
    ),
    Route(
        "4 bits by samples", "palette:4,rounding=gptq,scaled=true,scales=16,weighted=true",
        "palette", "float32", MINUTES,
        Damage("a mobile network kept 85 % of its answers at 4.2 bits", OWN),
    ),
    Route(
        "half of the weights zero, 8 bits", "sparse:8,share=0.5,rounding=gptq", "sparse", "float32",
        MINUTES,
        Damage("1 to 2 points for large networks; a mobile network kept 45 % of its answers", OWN),
    ),
    Route(
        "palettes of 4 bits, the rest 16-bit floats", "palette:4+float16", "palette", "float32",
        SECONDS, Damage("that of palettes of 4 bits", STUDY),
    ),
    Route(
        "half of the weights zero, 4 bits", "sparse:4,share=0.5,rounding=gptq", "sparse", "float32",
        MINUTES, Damage("more than either alone: a mobile network kept 34 % of its answers", OWN),
    ),
    Route(
        "palettes of 2 bits", "palette:2", "palette", "float32", SECONDS,
        Damage("unusable without training; 0.6 points when trained (75.5 %)", STUDY),
    ),
    Route(
        "palettes of 2 bits + distill", "palette:2,rounding=gptq+distill", "palette", "float32",
        LEARNING, Damage("0.6 points when trained with labels (75.5 %)", STUDY),
    ),
    Route(
        "low rank + distill", "lowrank,share=0.5,sensitive=false+distill", "", "float32", LEARNING,
        Damage("1 to 3 points after fine-tuning", "Kim et al., ICLR 2016, VGG-16 and others"),
    ),
    Route(
        "half of the channels + distill", "channels,share=0.5+distill", "", "float32", LEARNING,
        Damage(HALVED, SANDLER),
    ),
    Route(
        "half of the channels in 8-bit integers + distill",
        "channels,share=0.5+static+weights:8+distill", "int8", "int8", LEARNING,
        Damage(HALVED, SANDLER),
    ),
    Route(
        "a quarter of the channels in 8-bit integers + distill",
        "channels,share=0.75+static+weights:8+distill", "int8", "int8", LEARNING,
        Damage("far more than half of the channels", SANDLER),
    ),
)  # fmt: skip
"""In order of effort and damage, least first."""

KEEP = "keep"
"""The choice to leave operators as they are."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A step for some operators.

    Attributes:
        where: regular expression searched in their names.
        step: as recipes write it, or ``keep``.
    """

    where: str
    step: str


def parse_choice(text: str) -> Choice:
    """Read ``REGEX=STEP``, as in ``/blocks.*/=weights:4,block=32``.

    Raises:
        RecipeError: it has another form, or names no method or no regular expression.
    """
    for match in re.finditer("=", text):
        where = text[: match.start()]
        step = text[match.end() :]
        if where and re.match(r"\w*", step)[0] in (*METHODS, KEEP):  # type: ignore[index]
            return _checked(Choice(where, step), text)
    raise RecipeError(
        f"a choice is OPERATOR=STEP, as in 'conv_3=weights:4' or 'conv_3=keep'; got '{text}'"
    )


def _checked(choice: Choice, text: str) -> Choice:
    try:
        name_pattern(choice.where)
    except RecipeError as error:
        raise RecipeError(f"{error} (in '{text}')") from error
    if choice.step != KEEP:
        for step in parse_recipe(choice.step).steps:
            check_step(step, text)
    return choice


def check_step(step: Step, text: str) -> None:
    """Refuse a step that is not for the operators that a choice names."""
    if step.config.whole_model:
        raise RecipeError(
            f"a choice is for single operators and '{step.method}' works on the whole model; "
            f"leave it out of '{text}'"
        )
    if step.where:
        raise RecipeError(
            f"a choice names its operators before the step; leave where= out of '{text}'"
        )
