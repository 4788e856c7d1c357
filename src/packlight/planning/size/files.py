"""Files that recipes would write: their sizes, changes and refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import onnx_ir as ir

from packlight.compression.calibration_data import step_learns
from packlight.compression.methods import palette, weights
from packlight.model import Model, graphs, initializers, nodes, stored_tensor
from packlight.planning.size.exact_size import (
    INTEGER,
    ExactSizes,
    Simplified,
    SizedRecipe,
    least_opset,
)
from packlight.planning.size.value_checks import ValueChecks
from packlight.records.codec import digest
from packlight.records.configs import Config, RoundingConfig
from packlight.records.measurement import Measurement, counted
from packlight.records.recipe import Recipe, Step
from packlight.records.variant import Change, Refusal

WIDTHS = {"weights": weights.WIDTHS, "palette": palette.WIDTHS}
"""Bits of codes, by method, narrowest first."""

SAMPLE_OPTIONS: Mapping[str, Any] = {
    "rounding": "nearest", "weighted": False, "mixed": 0.0, "range": "minmax",
}  # fmt: skip
"""Options by which samples choose values, with their settings for no samples."""


@dataclass(frozen=True, slots=True)
class Original:
    """The user's file, not simplified.

    Attributes:
        size: bytes, external data included.
        operators: bytes of operators, names, types and functions, without stored values.
    """

    size: int
    operators: int


def original_file(model: Model, size: int) -> Original:
    """Describe the user's file.

    Args:
        model: as it was loaded.
        size: bytes of its file, external data included.
    """
    stored = stored_bytes(initializers(model.graph)) + constant_bytes(model)
    return Original(size, max(0, size - stored))


def constant_bytes(model: Model) -> int:
    """Bytes of the values of Constants, which lie among the operators of a file."""
    constants = (node for node in nodes(model.graph) if node.op_type == "Constant")
    return stored_bytes(node.outputs[0] for node in constants)


def stored_bytes(values: Iterable[ir.Value]) -> int:
    """Bytes of stored numbers."""
    tensors = (tensor for tensor in map(stored_tensor, values) if tensor is not None)
    return sum(tensor.nbytes for tensor in tensors if tensor.dtype != ir.DataType.STRING)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that a recipe would write.

    Attributes:
        size: bytes.
        changes: to operators.
        refusals: of operators that the recipe could have changed.
    """

    size: Measurement
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]


class Files:
    """Files that recipes would write of a model.

    Args:
        simplified: the model.
        checks: of stored values, as far as they were read already.

    Attributes:
        counted: files counted so far, by the digest of the recipe.
    """

    def __init__(self, simplified: Simplified, checks: ValueChecks | None = None) -> None:
        self.sizes = ExactSizes(simplified, checks)
        self.counted: dict[str, PlannedFile] = {}

    def count(self, recipe: Recipe, *, last: bool = False) -> PlannedFile:
        """Count the file of a recipe, once.

        Args:
            recipe: for all operators.
            last: whether nobody needs the model afterwards, so that it may be edited.
        """
        key = digest(recipe)
        if key not in self.counted:
            self.counted[key] = self._count(recipe, last=last)
        return self.counted[key]

    def count_all(
        self, recipes: Sequence[Recipe], *, last: bool = False
    ) -> Mapping[str, PlannedFile]:
        """Count the files of recipes; returns all counted so far.

        Args:
            recipes: for all operators.
            last: whether nobody needs the model after the last of them, so that it may be edited.
        """
        for recipe in recipes:
            self.count(recipe, last=last and recipe is recipes[-1])
        return self.counted

    def has_integers(self, recipe: Recipe) -> bool:
        """Tell whether a recipe computes in integers, so that it needs a copy of the weights."""
        return any(step.method in INTEGER for step in recipe.steps)

    def raises_opset(self, recipe: Recipe) -> bool:
        """Tell whether a recipe without integers starts from a newer opset."""
        newer = least_opset(recipe) > self.sizes.simplified.source.opset()
        return newer and not self.has_integers(recipe)

    def _count(self, recipe: Recipe, *, last: bool) -> PlannedFile:
        """Count a file; its size is an interval where samples choose widths.

        The same for weights in bodies of control flow, which samples may not reach.
        """
        versions = [self.sizes.apply(version) for version in width_versions(recipe)]
        unreached = [self.sizes.apply(version).size for version in self._unreached(recipe)]
        applied = self.sizes.apply(recipe, last=last)
        size = _size_of_versions([*versions, applied])
        low = min([int(size.low), *unreached])
        if low < size.low:
            size = size_between(low, int(size.high))
        return PlannedFile(size, applied.changes, applied.refusals)

    def _unreached(self, recipe: Recipe) -> list[Recipe]:
        """The recipe for weights that no sample reaches; empty where samples reach all weights."""
        has_bodies = len([*graphs(self.sizes.model.graph)]) > 1
        learns = any(step_learns(step) for step in recipe.steps if step.method not in INTEGER)
        return [without_biases(recipe)] if has_bodies and learns else []


def without_biases(recipe: Recipe) -> Recipe:
    """A recipe whose weights get no new biases, as those that no sample reaches."""
    steps = list(recipe.steps)
    for index, step in enumerate(steps):
        if isinstance(step.config, RoundingConfig):
            steps[index] = replace(step, config=replace(step.config, bias=False))
    return replace(recipe, steps=tuple(steps))


def _size_of_versions(versions: Sequence[SizedRecipe]) -> Measurement:
    """A size between those of versions: from no added function to the functions of all."""
    if len({version.size for version in versions}) == 1:
        return counted(versions[0].size, "B")
    functions: dict[str, int] = {}
    for version in versions:
        functions |= version.functions
    sizes = [version.plain_size for version in versions]
    return size_between(min(sizes), max(sizes) + sum(functions.values()))


def size_between(low: int, high: int) -> Measurement:
    """A counted size, or an estimate where its bounds differ."""
    if low == high:
        return counted(low, "B")
    return Measurement((low + high) / 2, "B", low, high, "estimated", 1)


def width_versions(recipe: Recipe) -> list[Recipe]:
    """The recipe with each width that samples may choose, for all weights; else empty."""
    mixed = list(filter(has_own_widths, recipe.steps))
    widths = sorted({bits for step in mixed for bits in WIDTHS[step.method]})
    return [
        replace(recipe, steps=tuple(with_bits(step, bits) for step in recipe.steps))
        for bits in widths
    ]


def has_own_widths(step: Step) -> bool:
    """Tell whether a step gives every weight a width of its own."""
    return isinstance(step.config, RoundingConfig) and step.config.mixed > 0


def with_bits(step: Step, bits: int) -> Step:
    """A step with this width, or the nearest of its method, where samples choose widths."""
    if not has_own_widths(step):
        return step
    nearest = min(WIDTHS[step.method], key=lambda width: abs(width - bits))
    options: dict[str, Any] = {"bits": nearest}
    return replace(step, config=replace(step.config, **options))


def without_samples(recipe: Recipe) -> Recipe:
    """A recipe that stores as much and needs no samples: size does not depend on the values."""
    steps = (replace(step, config=_without_sample_options(step.config)) for step in recipe.steps)
    return replace(recipe, steps=tuple(steps))


def _without_sample_options(config: Config) -> Config:
    names = {field.name for field in fields(config)} & SAMPLE_OPTIONS.keys()
    return replace(config, **{name: SAMPLE_OPTIONS[name] for name in names})
