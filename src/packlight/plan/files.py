"""The files that recipes make: how large they are, and what is changed in them and what not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from packlight.compress import compress
from packlight.model import Model, file_size, initializers, nodes, stored_tensor
from packlight.plan.integers import integer_size
from packlight.plan.sizes import TIDY, Base, Part, Sizes, Tidied, least_opset
from packlight.records.codec import digest
from packlight.records.measurement import Measurement, counted
from packlight.records.recipe import Option as Value
from packlight.records.recipe import Recipe
from packlight.records.variant import Change, Refusal

INTEGER = ("static", "dynamic")
"""Methods that compute in integers, which change the graph as a whole."""


@dataclass(frozen=True, slots=True)
class Original:
    """The user's own file, which nothing has tidied.

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
        tidied: the model.
    """

    def __init__(self, tidied: Tidied) -> None:
        self.sizes = Sizes(tidied)
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
        newer = least_opset(recipe) > self.sizes.tidied.source.opset()
        return newer and not self.is_whole(recipe)

    def looked_at(self, recipe: Recipe, *, last: bool) -> File:
        """What a recipe makes."""
        blind = without_samples(recipe)
        if any(step.method == "static" for step in recipe.steps):
            graph = self.sizes.base(least_opset(blind)).model
            newer = Model(graph, self.sizes.tidied.source.name)
            size, changes, refusals = integer_size(newer, blind, self.sizes.numbers, in_place=last)
            return File(counted(size, "B"), changes, refusals)
        if not self.is_whole(recipe):
            base, parts = self.sizes.looked_at(blind)
            if base.adds_up:
                changes, refusals = joined(parts)
                return File(self.size(recipe, base, parts, changes), changes, refusals)
        whole = replace(blind, steps=(*TIDY.steps, *blind.steps))
        found = compress(self.sizes.tidied.source, whole, held=0)
        changes = tuple(change for change in found.changes if change.method != "tidy")
        return File(counted(file_size(found.model.graph), "B"), changes, found.refusals)

    def size(
        self, recipe: Recipe, base: Base, parts: Sequence[Part], changes: Sequence[Change]
    ) -> Measurement:
        """The size of a file; an estimate where biases that samples make are halved later."""
        plain = self.sizes.total(base, parts)
        if not any(step.config.get("rounding") == "gptq" for step in recipe.steps):
            return counted(plain, "B")
        changed = {change.operator for change in changes}
        growth = sum(base.biases.get(operator, 0) for operator in changed)
        whole = self.sizes.total(base, [*parts, Part(growth, {}, (), ())])
        if all(step.method != "float16" for step in recipe.steps):
            return counted(whole, "B")
        return Measurement((plain + whole) / 2, "B", plain, whole, "estimated", 1)


LEARNT: Mapping[str, Value] = {
    "rounding": "nearest", "weighted": False, "mixed": 0.0, "range": "minmax",
}  # fmt: skip
"""Options by which samples choose numbers, and what they are without samples."""


def without_samples(recipe: Recipe) -> Recipe:
    """What stores as much, for that does not depend on how numbers were chosen."""
    steps = (
        replace(step, config={key: LEARNT.get(key, value) for key, value in step.config.items()})
        for step in recipe.steps
    )
    return replace(recipe, steps=tuple(steps))


def joined(parts: Sequence[Part]) -> tuple[tuple[Change, ...], tuple[Refusal, ...]]:
    """What all parts change and refuse."""
    changes = tuple(change for part in parts for change in part.changes)
    return changes, tuple(refusal for part in parts for refusal in part.refusals)
