"""The files that recipes make: how large they are, and what is changed in them and what not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import onnx_ir as ir

from packlight.compression import compress
from packlight.compression.methods import palette, weights
from packlight.model import Model, file_size, initializers, nodes, stored_tensor
from packlight.planning.size.biases import Place, bytes_made, is_doubtful, shifted, shifts
from packlight.planning.size.integers import integer_size
from packlight.planning.size.parts import SIMPLIFY, Base, Part, Simplified, Sizes, least_opset
from packlight.planning.value_checks import Numbers
from packlight.records.codec import digest
from packlight.records.configs import Config, RoundingConfig
from packlight.records.measurement import Measurement, counted
from packlight.records.recipe import Recipe, Step, parse_recipe
from packlight.records.variant import Change, Refusal

INTEGER = ("static", "dynamic")
"""Methods that compute in integers, which change the graph as a whole."""


def computes_in_integers(text: str) -> bool:
    """Whether the first step of a recipe in short computes in integers."""
    return any(step.method in INTEGER for step in parse_recipe(text).steps[:1])


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
        """Whether a recipe is looked at in the model raised to a newer opset, part by part."""
        newer = least_opset(recipe) > self.sizes.simplified.source.opset()
        return newer and not self.is_whole(recipe)

    def looked_at(self, recipe: Recipe, *, last: bool) -> File:
        """What a recipe makes."""
        assert not any(step.where for step in recipe.steps), "operators alike differ in names"
        blind = without_samples(recipe)
        if self.is_whole(recipe):
            return self.of_whole(recipe, last=last)
        base, parts = self.sizes.looked_at(blind)
        if not base.adds_up:
            return self.of_whole(recipe, last=last)
        if is_mixed(recipe) and any(part.changes for part in parts):
            base = self.sizes.base(least_opset(recipe))
        changes, refusals = joined(parts)
        return File(self.size(recipe, base, changes), changes, refusals)

    def of_whole(self, recipe: Recipe, *, last: bool) -> File:
        """What a recipe makes, looked at in a copy of the whole model."""
        widths = every_width(recipe) if is_mixed(recipe) else []
        sizes = [self.looked_at_whole(each, last=False)[0] for each in widths]
        blind, places = without_samples(recipe), tuple[Place, ...]()
        if any(map(shifts, recipe.steps)):
            places = self.sizes.base(least_opset(blind)).biases
        size, changes, refusals = self.looked_at_whole(blind, last=last)
        growth = bytes_made(places, shifted(recipe, changes))
        most = max([*sizes, size]) + (growth + LENGTHS if growth else 0)
        return File(between(min([*sizes, size]), most), changes, refusals)

    def looked_at_whole(
        self, recipe: Recipe, *, last: bool
    ) -> tuple[int, tuple[Change, ...], tuple[Refusal, ...]]:
        """Bytes of the file that a recipe without samples makes, its changes and its refusals."""
        if any(step.method == "static" for step in recipe.steps):
            graph = self.sizes.base(least_opset(recipe)).model
            newer = Model(graph, self.sizes.simplified.source.name)
            return integer_size(newer, recipe, self.sizes.numbers, in_place=last)
        whole = replace(recipe, steps=(*SIMPLIFY.steps, *recipe.steps))
        found = compress(self.sizes.simplified.source, whole, held=0)
        changes = tuple(change for change in found.changes if change.method != "simplify")
        return file_size(found.model.graph), changes, found.refusals

    def size(self, recipe: Recipe, base: Base, changes: Sequence[Change]) -> Measurement:
        """The size of a file; an estimate where widths are chosen by samples, or biases halved."""
        changed = shifted(recipe, changes)
        growth = Part(bytes_made(base.biases, changed) if changed else 0, {}, (), ())
        narrow, wide = extremes(self.sizes.parts(base, each) for each in every_width(recipe))
        least = narrow if is_doubtful(recipe) else [*narrow, growth]
        return between(self.sizes.total(base, least), self.sizes.total(base, [*wide, growth]))


LENGTHS = 4
"""Bytes that the lengths of graphs may grow by."""


def between(low: int, high: int) -> Measurement:
    """A size that is known, or lies between two."""
    if low == high:
        return counted(low, "B")
    return Measurement((low + high) / 2, "B", low, high, "estimated", 1)


LEARNT: Mapping[str, Any] = {
    "rounding": "nearest", "weighted": False, "mixed": 0.0, "range": "minmax",
}  # fmt: skip
"""Options by which samples choose numbers, and what they are without samples."""


def is_mixed(recipe: Recipe) -> bool:
    """Whether every weight has a width of its own, which samples choose."""
    return any(map(has_own_widths, recipe.steps))


def has_own_widths(step: Step) -> bool:
    """Whether a step gives every weight a width of its own."""
    return isinstance(step.config, RoundingConfig) and step.config.mixed > 0


def every_width(recipe: Recipe) -> list[Recipe]:
    """What stores as much as a recipe, without samples, for each width that they may choose."""
    mixed = list(filter(has_own_widths, recipe.steps))
    widths = sorted({bits for step in mixed for bits in WIDTHS[step.method]})
    wider = (
        replace(recipe, steps=tuple(with_bits(step, bits) for step in recipe.steps))
        for bits in widths
    )
    return [without_samples(each) for each in (wider if mixed else (recipe,))]


def extremes(every: Iterable[Sequence[Part]]) -> tuple[Sequence[Part], Sequence[Part]]:
    """Of each cluster what takes least and most, of its parts for every width.

    The least needs no function, the most all that any width needs.
    """
    first, *others = every
    if not others:
        return first, first
    least, most = list[Part](), list[Part]()
    for parts in zip(first, *others, strict=True):
        called = {name: size for part in parts for name, size in part.functions.items()}
        low, high = (pick(parts, key=lambda part: part.growth) for pick in (min, max))
        least.append(replace(low, functions={}))
        most.append(replace(high, functions=called))
    return least, most


WIDTHS = {"weights": weights.WIDTHS, "palette": palette.WIDTHS}
"""Bits of codes, by method, narrowest first."""


def with_bits(step: Step, bits: int) -> Step:
    """A step with codes of a width where samples choose it, or of the nearest that it has."""
    if not has_own_widths(step):
        return step
    near = min(WIDTHS[step.method], key=lambda width: abs(width - bits))
    changed: dict[str, Any] = {"bits": near}
    return replace(step, config=replace(step.config, **changed))


def without_samples(recipe: Recipe) -> Recipe:
    """What stores as much, for that does not depend on how numbers were chosen."""
    steps = (replace(step, config=without_learning(step.config)) for step in recipe.steps)
    return replace(recipe, steps=tuple(steps))


def without_learning(config: Config) -> Config:
    """A config that chooses all numbers without samples."""
    names = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in LEARNT.items() if name in names})


def joined(parts: Sequence[Part]) -> tuple[tuple[Change, ...], tuple[Refusal, ...]]:
    """What all parts change and refuse."""
    changes = tuple(change for part in parts for change in part.changes)
    return changes, tuple(refusal for part in parts for refusal in part.refusals)
