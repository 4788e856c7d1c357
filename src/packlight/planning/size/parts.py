"""Exact sizes of files that were never made.

A recipe is applied to the whole model by the very code that writes files, and the file is counted.
Nobody computes weights for it: zeros stand in for them, which are made when they are read. All
that is read of weights is whether numbers are NaN, too large or all too small for a method: such
weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import onnx
import onnx_ir as ir

from packlight.compression import compress
from packlight.compression.methods.float16 import SMALLEST
from packlight.compression.methods.table import METHODS
from packlight.compression.sites.weight_sites import stand_in
from packlight.model import Model, file_size, initializers, raise_opset
from packlight.model.size import Skeleton, field_size, skeleton
from packlight.planning.size.integers import integer_size
from packlight.planning.value_checks import Numbers
from packlight.records.codec import digest
from packlight.records.configs import Simplify
from packlight.records.recipe import Recipe, Step, parse_recipe
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

INTEGER = ("static", "dynamic")
"""Methods that compute in integers, whose codes are made at once and shared where they are equal.
"""


def computes_in_integers(text: str) -> bool:
    """Whether the first step of a recipe in short computes in integers."""
    return any(step.method in INTEGER for step in parse_recipe(text).steps[:1])


FUNCTION_TAG = 2
"""Bytes of the tag of a function in a file: its number is above 15."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A recipe, applied to a model without its weights.

    Attributes:
        size: bytes of the file.
        functions: that the recipe adds to the model, with the bytes of each in the file.
        changes: what is changed.
        refusals: what is left as it is, and why.
    """

    size: int
    functions: Mapping[str, int]
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    @property
    def plain_size(self) -> int:
        """Bytes of the file without the functions that the recipe adds."""
        return self.size - sum(self.functions.values())


@dataclass
class Base:
    """A model at one opset, as its file is before a recipe changes anything.

    Attributes:
        model: at that opset, simplified.
        numbers: that are stored.
        applied: recipes that were applied so far, by digest.
    """

    model: Model
    numbers: Numbers
    applied: dict[str, Applied] = field(default_factory=dict)

    @cached_property
    def file(self) -> Skeleton:
        """Its file without stored values."""
        return skeleton(self.model.graph)

    @cached_property
    def hollow(self) -> Model:
        """The model with zeros in the place of weights whose numbers do not matter."""
        graph = self.model.clone()
        for value in initializers(graph):
            tensor = value.const_value
            if tensor is not None and is_weight(tensor) and not self.numbers.extreme(tensor):
                value.const_value = stand_in(tensor)
        return Model(graph, self.model.name)

    @cached_property
    def functions(self) -> frozenset[str]:
        """Functions and imports that its file has already."""
        return frozenset({*functions(self.model.graph), *self.model.graph.opset_imports})

    def apply(self, recipe: Recipe, *, last: bool = False) -> Applied:
        """Apply a recipe, once.

        Args:
            recipe: a canonical one; steps that look at samples see none.
            last: whether nobody needs the model afterwards, so that it may be edited.
        """
        key = digest(recipe)
        if key not in self.applied:
            self.applied[key] = self.apply_anew(recipe, last=last)
        return self.applied[key]

    def apply_anew(self, recipe: Recipe, *, last: bool) -> Applied:
        """Apply a recipe."""
        methods = {step.method for step in recipe.steps}
        if "static" in methods:
            size, changes, refusals = integer_size(self.model, recipe, self.numbers, in_place=last)
            return Applied(size, {}, changes, refusals)
        start = self.hollow if methods.isdisjoint(INTEGER) else self.model
        result = compress(start, recipe, Calibrator(sizes_only=True), held=0)
        graph = result.model.graph
        added = {
            name: size for name, size in functions(graph).items() if name not in self.functions
        }
        return Applied(file_size(graph), added, result.changes, result.refusals)


def is_weight(tensor: ir.TensorProtocol) -> bool:
    """Tell whether a tensor is float32 and large enough for a method, and carries no notes."""
    if tensor.doc_string or tensor.metadata_props:
        return False  # they are counted where the tensor stays as it is
    return tensor.dtype == ir.DataType.FLOAT and tensor.size >= SMALLEST


@dataclass(frozen=True)
class Simplified:
    """A model before and after it is simplified.

    Attributes:
        source: before; it stays as it is, unless it is spare.
        spare: whether nobody else needs the source, nor a newer opset of it, so that it is edited.
    """

    source: Model
    spare: bool = False

    @cached_property
    def model(self) -> Model:
        """After."""
        return compress(self.source, SIMPLIFY, held=0, in_place=self.spare).model

    def at(self, opset: int) -> Model:
        """The simplified model at an opset, or at its own where that is newer.

        It is raised before it is simplified, as ``compress`` does it: converters leave notes.
        """
        if opset <= self.source.opset():
            return self.model
        assert "model" not in vars(self) or not self.spare, "the source is used up"
        newer = Model(raise_opset(self.source.clone(), opset), self.source.name)
        return compress(newer, SIMPLIFY, held=0, in_place=True).model


SIMPLIFY = Recipe((Step(Simplify()),))


class Sizes:
    """File sizes of a model under any recipe, which tidies it first.

    Args:
        simplified: the model.
        numbers: that are stored, as far as they were read already.
    """

    def __init__(self, simplified: Simplified, numbers: Numbers | None = None) -> None:
        self.simplified = simplified
        self.bases: dict[int, Base] = {}
        self.numbers = numbers or Numbers()

    @property
    def model(self) -> Model:
        """The model, simplified."""
        return self.simplified.model

    def base(self, opset: int) -> Base:
        """The model at an opset, or at its own where that is newer."""
        at = max(opset, self.simplified.source.opset())
        if at not in self.bases:
            self.bases[at] = Base(self.simplified.at(at), self.numbers)
        return self.bases[at]

    def apply(self, recipe: Recipe, *, last: bool = False) -> Applied:
        """Apply a recipe to the model at the opset to which it raises it.

        A step that changes nothing raises nothing.

        Args:
            recipe: a canonical one; steps that look at samples see none.
            last: whether nobody needs the model afterwards, so that it may be edited.
        """
        base = self.base(least_opset(recipe))
        applied = base.apply(recipe, last=last)
        lower = self.base(least_opset(acting(recipe, applied.changes)))
        if lower is not base:
            applied = lower.apply(recipe)
        if applied.changes or last:
            return applied  # after the last one the model is not what it was
        return replace(applied, size=self.base(0).file.size())


def least_opset(recipe: Recipe) -> int:
    """The opset that a recipe raises a model to where it changes anything."""
    opsets = [METHODS[step.method].opset(step.config) for step in recipe.steps]
    return max(opsets, default=0)


def acting(recipe: Recipe, changes: Iterable[Change]) -> Recipe:
    """The steps of a recipe whose methods change something."""
    methods = {change.method for change in changes}
    return replace(recipe, steps=tuple(step for step in recipe.steps if step.method in methods))


def functions(model: ir.Model) -> dict[str, int]:
    """Bytes of a model's functions in its file, and of the imports of their domains."""
    sizes = {}
    for (domain, name, _), function in model.functions.items():
        content = ir.serde.serialize_function(function).ByteSize()
        sizes[f"{domain}.{name}"] = FUNCTION_TAG - 1 + field_size(content)
        imported = onnx.OperatorSetIdProto(domain=domain, version=model.opset_imports[domain])
        sizes[domain] = field_size(imported.ByteSize())
    return sizes
