"""The files that recipes make: how large they are, and what is changed in them and what not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import onnx_ir as ir

from packlight.compression.compress import step_uses_data
from packlight.compression.methods import palette, weights
from packlight.model import Model, graphs, initializers, nodes, stored_tensor
from packlight.planning.size.parts import INTEGER, Applied, Simplified, Sizes, least_opset
from packlight.planning.value_checks import Numbers
from packlight.records.codec import digest
from packlight.records.configs import Config, RoundingConfig
from packlight.records.measurement import Measurement, counted
from packlight.records.recipe import Recipe, Step
from packlight.records.variant import Change, Refusal


@dataclass(frozen=True, slots=True)
class Original:
    """The user's own file, which nothing has simplified.

    Attributes:
        size: bytes, external data included.
        operators: bytes of it that are not numbers: operators, names, types, functions.
    """

    size: int
    operators: int


def original_of(model: Model, size: int) -> Original:
    """A model's file as the user has it.

    Args:
        model: as it was loaded.
        size: bytes of its file, external data included.
    """
    numbers = bytes_of(initializers(model.graph)) + in_constants(model)
    return Original(size, max(0, size - numbers))


def in_constants(model: Model) -> int:
    """Bytes of the numbers of Constants, which lie among the operators of a file."""
    return bytes_of(node.outputs[0] for node in nodes(model.graph) if node.op_type == "Constant")


def bytes_of(values: Iterable[ir.Value]) -> int:
    """Bytes of the numbers that are stored."""
    tensors = (tensor for tensor in map(stored_tensor, values) if tensor is not None)
    return sum(one.nbytes for one in tensors if one.dtype != ir.DataType.STRING)


@dataclass(frozen=True, slots=True)
class File:
    """What a recipe makes.

    Attributes:
        size: bytes of the file.
        changes: what is changed.
        refusals: what could have been and was not.
    """

    size: Measurement
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]


class Files:
    """What recipes make of a model, without making it.

    Args:
        simplified: the model.
        numbers: that are stored, as far as they were read already.
    """

    def __init__(self, simplified: Simplified, numbers: Numbers | None = None) -> None:
        self.sizes = Sizes(simplified, numbers)
        self.known: dict[str, File] = {}

    def made(self, recipe: Recipe, *, last: bool = False) -> File:
        """What a canonical recipe makes; it is looked at once.

        Args:
            recipe: the recipe.
            last: whether nobody needs the model afterwards, so that it may be edited.
        """
        key = digest(recipe)
        if key not in self.known:
            self.known[key] = self.looked_at(recipe, last=last)
        return self.known[key]

    def all_made(self, recipes: Sequence[Recipe], *, last: bool = False) -> Mapping[str, File]:
        """What is known once these recipes have been looked at.

        Args:
            recipes: canonical ones.
            last: whether nobody needs the model after the last of them, so that it may be edited.
        """
        for recipe in recipes:
            self.made(recipe, last=last and recipe is recipes[-1])
        return self.known

    def is_whole(self, recipe: Recipe) -> bool:
        """Whether a recipe is looked at in a copy of the whole model."""
        return any(step.method in INTEGER for step in recipe.steps)

    def is_newer(self, recipe: Recipe) -> bool:
        """Whether a recipe is looked at in the model raised to a newer opset."""
        newer = least_opset(recipe) > self.sizes.simplified.source.opset()
        return newer and not self.is_whole(recipe)

    def looked_at(self, recipe: Recipe, *, last: bool) -> File:
        """What a recipe makes; the size is an interval where samples choose widths.

        It is one, too, where weights lie in bodies, which samples may not reach.
        """
        assert not any(step.where for step in recipe.steps), "operators alike differ in names"
        versions = [self.sizes.apply(each) for each in every_width(recipe)]
        sizes = [self.sizes.apply(each).size for each in self.unreached(recipe)]
        applied = self.sizes.apply(recipe, last=last)
        size = size_of([*versions, applied])
        low = min([int(size.low), *sizes])
        if low < size.low:
            size = between(low, int(size.high))
        return File(size, applied.changes, applied.refusals)

    def unreached(self, recipe: Recipe) -> list[Recipe]:
        """A recipe as it is where no sample reaches a weight; none where all are surely reached."""
        has_bodies = len([*graphs(self.sizes.model.graph)]) > 1
        shifts = any(step_uses_data(step) for step in recipe.steps if step.method not in INTEGER)
        return [without_biases(recipe)] if has_bodies and shifts else []


def without_biases(recipe: Recipe) -> Recipe:
    """A recipe whose weights get no biases, as those in bodies that no sample reaches."""
    steps = (
        replace(step, config=replace(step.config, bias=False))
        if isinstance(step.config, RoundingConfig)
        else step
        for step in recipe.steps
    )
    return replace(recipe, steps=tuple(steps))


def size_of(versions: Sequence[Applied]) -> Measurement:
    """The size of a file that is between some: without any function, or with those of all."""
    added = {name: size for version in versions for name, size in version.functions.items()}
    if len({version.size for version in versions}) == 1:
        return counted(versions[0].size, "B")
    sizes = [version.plain_size for version in versions]
    return between(min(sizes), max(sizes) + sum(added.values()))


def between(low: int, high: int) -> Measurement:
    """A size that is known, or lies between two."""
    if low == high:
        return counted(low, "B")
    return Measurement((low + high) / 2, "B", low, high, "estimated", 1)


def every_width(recipe: Recipe) -> list[Recipe]:
    """A recipe with each width for all weights that samples may choose; none where they do not."""
    mixed = list(filter(has_own_widths, recipe.steps))
    widths = sorted({bits for step in mixed for bits in WIDTHS[step.method]})
    return [
        replace(recipe, steps=tuple(with_bits(step, bits) for step in recipe.steps))
        for bits in widths
    ]


WIDTHS = {"weights": weights.WIDTHS, "palette": palette.WIDTHS}
"""Bits of codes, by method, narrowest first."""


def has_own_widths(step: Step) -> bool:
    """Whether a step gives every weight a width of its own."""
    return isinstance(step.config, RoundingConfig) and step.config.mixed > 0


def with_bits(step: Step, bits: int) -> Step:
    """A step with codes of a width where samples choose it, or of the nearest that it has."""
    if not has_own_widths(step):
        return step
    near = min(WIDTHS[step.method], key=lambda width: abs(width - bits))
    changed: dict[str, Any] = {"bits": near}
    return replace(step, config=replace(step.config, **changed))


LEARNT: Mapping[str, Any] = {
    "rounding": "nearest", "weighted": False, "mixed": 0.0, "range": "minmax",
}  # fmt: skip
"""Options by which samples choose numbers, and what they are without samples."""


def without_samples(recipe: Recipe) -> Recipe:
    """What stores as much, for that does not depend on how numbers were chosen."""
    steps = (replace(step, config=without_learning(step.config)) for step in recipe.steps)
    return replace(recipe, steps=tuple(steps))


def without_learning(config: Config) -> Config:
    """A config that chooses all numbers without samples."""
    names = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in LEARNT.items() if name in names})
