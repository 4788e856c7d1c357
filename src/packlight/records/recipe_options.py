"""Configs from the options of a recipe's text or file, and back.

Options are the fields of a config, but for its granularity: ``per=channel``, ``per=tensor``,
``block=32`` or ``group=16``.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from packlight.errors import RecipeError
from packlight.records.codec import said
from packlight.records.configs import CONFIGS, Config
from packlight.records.granularity import (
    Granularity,
    PerBlock,
    PerChannel,
    PerGroup,
    PerTensor,
)
from packlight.records.method_config import option_types

Option = str | int | float | bool

CALIBRATED = "rounding=gptq,range=moments,scales=16"
"""Options of calibrated weights."""

FITTED = "rounding=gptq,weighted=true,scaled=true,scales=16"
"""Options of calibrated palettes."""

PRESETS: Mapping[str, str] = {
    "quick8": "simplify+weights:8",
    "quick4": "simplify+weights:4,block=32",
    "best8": f"simplify+weights:8,{CALIBRATED}",
    "best6": f"simplify+palette,mixed=6,{FITTED}",
    "best4": f"simplify+palette,mixed=4,{FITTED}",
    "best3": f"simplify+palette,mixed=3,{FITTED}",
    "sparse4": "simplify+sparse:4,share=0.5,rounding=gptq",
}
"""The quick ones need no data; the others learn from calibration samples.

The number is bits of a weight: of every one in ``quick8``, ``quick4``, ``best8`` and ``sparse4``,
where half of the weights are zero besides; on average in the others.
"""

PER: Mapping[type[Granularity], str] = {
    PerTensor: "tensor", PerChannel: "channel", PerBlock: "block", PerGroup: "group",
}  # fmt: skip
"""Values of ``per=``."""

RENAMED_METHODS: Mapping[str, str] = {"tidy": "simplify", "equalise": "equalize"}
"""Methods of earlier versions, and their names today."""

RENAMED_OPTIONS: Mapping[str, str] = {"aim": "target"}
"""Options of earlier versions, and their names today."""

RENAMED_VALUES: Mapping[tuple[str, Option], Option] = {("aim", "original"): "float"}
"""Values of renamed options, and what they are today where that differs."""


OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("qat", "quantization_aware_training"), "static+distill"),
    **dict.fromkeys(("ptq", "int8", "qdq", "quantize"), "static"),
    **dict.fromkeys(("int4", "w4", "nf4"), "weights:4,block=32"),
    **dict.fromkeys(("w8", "woq"), "weights:8"),
    **dict.fromkeys(("gptq", "adaround", "obq"), "weights:4,rounding=gptq"),
    **dict.fromkeys(("awq", "smoothquant", "cle"), "equalize+weights:4"),
    **dict.fromkeys(("palettize", "kmeans", "cluster", "clustering", "lut", "dkm"), "palette:4"),
    **dict.fromkeys(("prune", "pruning", "sparsify", "sparsity"), "sparse"),
    **dict.fromkeys(("structured_pruning", "channel_pruning"), "channels"),
    **dict.fromkeys(("svd", "low_rank", "factorize"), "lowrank"),
    **dict.fromkeys(("fp16", "half"), "float16"),
    **dict.fromkeys(("distillation", "train", "finetune"), "distill"),
}
"""Names that others use, and the steps that do this here."""


def config_class(method: str) -> type[Config]:
    """The config class of a method.

    Raises:
        RecipeError: there is no method of this name.
    """
    if method in CONFIGS:
        return CONFIGS[method]
    if method in RENAMED_METHODS:
        raise RecipeError(f"'{method}' is now '{RENAMED_METHODS[method]}'")
    if method.lower() in OTHER_NAMES:
        raise RecipeError(f"'{method}' is written '{OTHER_NAMES[method.lower()]}' here")
    if method in PRESETS:
        raise RecipeError(
            f"'{method}' is a preset, and presets stand alone; "
            f"beside other steps write out its own: {PRESETS[method]}"
        )
    raise RecipeError(
        f"there is no method '{method}'; there are {', '.join(CONFIGS)}, "
        f"and presets, which stand alone: {', '.join(PRESETS)}"
    )


def config_of(method: str, options: Mapping[str, Option]) -> Config:
    """The config of a method with some options; others take their defaults.

    Raises:
        RecipeError: the method or an option does not exist, or a value is not one it can have.

    >>> config_of("weights", {"bits": 4, "block": 32})
    WeightOnly(bits=4, granularity=PerBlock(size=32))
    """
    cls = config_class(method)
    names = option_names(cls)
    for name, value in options.items():
        if name not in names:
            refuse_option(method, name, value, names)
    values = with_implied(method, options)
    granularity = granularity_of(cls, values)
    fields: dict[str, Any] = {
        name: value for name, value in values.items() if name not in PER_OPTIONS
    }
    if granularity is not None:
        fields["granularity"] = granularity
    return cls(**fields)


def refuse_option(method: str, name: str, value: Option, names: tuple[str, ...]) -> None:
    """Raise the error for an option that a method does not have."""
    new = RENAMED_OPTIONS.get(name, "")
    if new in names:
        now = RENAMED_VALUES.get((name, value), value)
        raise RecipeError(f"'{name}={value}' is now '{new}={now}'")
    listed = ", ".join(names) or "no options"
    raise RecipeError(f"'{method}' has no option '{name}'; it has {listed}")


SIZE_OPTIONS: Mapping[type[Granularity], str] = {PerBlock: "block", PerGroup: "group"}
"""Options that give the size of a granularity."""

PER_OPTIONS = ("per", *SIZE_OPTIONS.values())
"""Options that together are a granularity."""


def _granularities(cls: type[Config]) -> tuple[type[Granularity], ...]:
    return typing.get_args(option_types(cls).get("granularity"))


def option_names(cls: type[Config]) -> tuple[str, ...]:
    """Names of a method's options, as recipes write them."""
    names = list[str]()
    for field in dataclasses.fields(cls):
        if field.name != "granularity":
            names.append(field.name)
            continue
        sizes = [SIZE_OPTIONS[kind] for kind in _granularities(cls) if kind in SIZE_OPTIONS]
        names += ["per", *sizes]
    return tuple(names)


def with_implied(method: str, options: Mapping[str, Option]) -> dict[str, Option]:
    """Options with those that follow from them.

    In ``sparse``, naming a width means codes of a grid, and naming scales beside it indices into a
    palette.
    """
    implied = dict[str, Option]()
    if method == "sparse" and "bits" in options:
        implied["values"] = "grid"
    if method == "sparse" and "scaled" in options:
        implied["values"] = "palette"
    return {**implied, **options}


def granularity_of(cls: type[Config], options: Mapping[str, Option]) -> Granularity | None:
    """The granularity that options give; None where they give none. A size alone implies its kind.

    Raises:
        RecipeError: ``per`` or a size has a value it cannot have, or they contradict each other.
    """
    kinds = {PER[kind]: kind for kind in _granularities(cls)}
    sizes = {name: value for name, value in options.items() if name in SIZE_OPTIONS.values()}
    size_name = next(iter(sizes), "")
    if "per" not in options and not sizes:
        return None
    per = options.get("per", size_name)
    if not isinstance(per, str) or per not in kinds:
        raise RecipeError(f"{cls.kind},per= is one of {', '.join(kinds)}; got '{per}'")
    if not sizes:
        return kinds[per]()
    size = sizes[size_name]
    if per != size_name:
        raise RecipeError(
            f"{cls.kind},{size_name}={size} means per={size_name}, and per={per} has no size; "
            "leave one of them out"
        )
    if type(size) is not int:
        raise RecipeError(f"{cls.kind},{size_name}= takes {said(int)}; got '{size}'")
    if kinds[per] is PerGroup:
        return PerGroup(size)
    return PerBlock(size)


def all_options(config: Config) -> dict[str, Option]:
    """Every option of a config, as recipes write them."""
    options = dict[str, Option]()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name != "granularity":
            options[field.name] = value
            continue
        options["per"] = PER[type(value)]
        if isinstance(value, PerBlock | PerGroup):
            options[SIZE_OPTIONS[type(value)]] = value.size
    return options


def short_options(config: Config) -> dict[str, Option]:
    """The options that give a config and differ from their defaults.

    >>> short_options(config_of("weights", {"bits": 8, "per": "block", "block": 16}))
    {'block': 16}
    """
    options = all_options(config)
    defaults = all_options(type(config)())
    short = {name: value for name, value in options.items() if defaults.get(name) != value}
    if any(name in short for name in SIZE_OPTIONS.values()):
        short.pop("per", None)
    for name, value in with_implied(config.kind, short).items():
        if options[name] != value:
            short[name] = options[name]
    return short


def text_options(cls: type[Config]) -> tuple[str, ...]:
    """Names of options that take any text, which is not to be read as a number."""
    return tuple(name for name, kind in option_types(cls).items() if kind is str)
