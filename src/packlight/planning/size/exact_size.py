"""Exact sizes of files that are never written.

The code that writes files applies a recipe to the whole model, and the file's bytes are counted.
Zeros stand in for the weights and are made only when they are read. Weights are read once, to check
for values that a method may refuse: NaN, too large, or all too small. Such weights stay in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx
import onnx_ir as ir

from packlight.backends.capabilities import capabilities
from packlight.compression import AppliedRecipe, compress
from packlight.compression.local_functions import inline_functions
from packlight.compression.methods.float16 import SMALLEST
from packlight.compression.methods.table import METHODS
from packlight.compression.qdq.placement import first_and_last
from packlight.compression.sites.weight_sites import Weight, stand_in, weight_sites
from packlight.model import (
    Model,
    file_size,
    initializers,
    nodes,
    raise_opset,
    stored_tensor,
)
from packlight.model.size import Skeleton, field_size, skeleton
from packlight.planning.size.value_checks import ValueChecks
from packlight.records.codec import digest
from packlight.records.configs import Simplify, StaticInt8
from packlight.records.recipe import Recipe, Step, parse_recipe
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

INTEGER = ("static", "dynamic")
"""Methods that compute in integers. They write all codes at once and share equal ones."""

FUNCTION_TAG_BYTES = 2
"""Of a function in a file: the number of its field is above 15."""

STRUCTURAL = ("channels", "lowrank")
"""Methods after which a model is another, smaller one, to which later steps are applied."""

CODES_SUFFIX = ".codes"
SIMPLIFY = Recipe((Step(Simplify()),))


def computes_in_integers(text: str) -> bool:
    """Tell whether the first step of a short recipe computes in integers."""
    return any(step.method in INTEGER for step in parse_recipe(text).steps[:1])


def split_structure(recipe: Recipe) -> tuple[Recipe, Recipe]:
    """The steps at the start of a recipe that make another model, and those behind them.

    >>> head, rest = split_structure(parse_recipe("simplify+channels+weights:4+lowrank"))
    >>> head.text(), rest.text()
    ('channels', 'weights:4+lowrank')
    """
    steps = [step for step in recipe.steps if not isinstance(step.config, Simplify)]
    count = next((i for i, step in enumerate(steps) if step.method not in STRUCTURAL), len(steps))
    head = replace(recipe, steps=tuple(steps[:count]))
    return head, replace(recipe, steps=tuple(steps[count:]))


@dataclass(frozen=True, slots=True)
class SizedRecipe:
    """A recipe, applied to a model without its weights.

    Attributes:
        size: bytes of the file.
        functions: bytes of each function that the recipe adds to the file, by name.
        changes: to operators.
        refusals: of operators that stay as they are, with the reason.
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
class Baseline:
    """A simplified model at one opset, before a recipe changes it.

    Attributes:
        model: at that opset, simplified.
        checks: of stored values.
        applied: recipes applied so far, by digest.
        smaller: models after structural steps, by digest of these.
    """

    model: Model
    checks: ValueChecks
    applied: dict[str, SizedRecipe] = field(default_factory=dict)
    smaller: dict[str, SmallerModel] = field(default_factory=dict)

    @cached_property
    def file(self) -> Skeleton:
        """The file without stored values."""
        return skeleton(self.model.graph)

    @cached_property
    def without_weights(self) -> Model:
        """The model with zeros in place of weights whose values do not matter."""
        graph = self.model.clone()
        for value in initializers(graph):
            tensor = value.const_value
            if tensor is None or not _is_plain_weight(tensor):
                continue
            if not self.checks.may_refuse(tensor):
                value.const_value = stand_in(tensor)
        return Model(graph, self.model.name)

    @cached_property
    def functions(self) -> frozenset[str]:
        """Functions and imports in the file already."""
        return frozenset({*_function_bytes(self.model.graph), *self.model.graph.opset_imports})

    def apply(self, recipe: Recipe, *, last: bool = False) -> SizedRecipe:
        """Apply a recipe; the result is kept.

        Args:
            recipe: steps that need calibration samples get none.
            last: whether nobody needs the model afterwards, so that it may be edited.
        """
        key = digest(recipe)
        if key not in self.applied:
            self.applied[key] = self._apply(recipe, last=last)
        return self.applied[key]

    def _apply(self, recipe: Recipe, *, last: bool) -> SizedRecipe:
        structure, rest = split_structure(recipe)
        if structure.steps and rest.steps:
            return self.after_structure(structure).apply(rest)
        methods = {step.method for step in recipe.steps}
        if "static" in methods:
            return _integer_size(self.model, recipe, self.checks, in_place=last)
        start = self.model
        if methods.isdisjoint(INTEGER):
            start = self.without_weights
        result = compress(start, recipe, Calibrator(sizes_only=True), held=0)
        graph = result.model.graph
        sizes = _function_bytes(graph)
        added = {name: size for name, size in sizes.items() if name not in self.functions}
        return SizedRecipe(file_size(graph), added, result.changes, result.refusals)

    def after_structure(self, structure: Recipe) -> SmallerModel:
        """The model after structural steps; it is kept."""
        key = digest(structure)
        if key not in self.smaller:
            result = compress(self.without_weights, structure, Calibrator(sizes_only=True), held=0)
            baseline = Baseline(result.model, self.checks)
            self.smaller[key] = SmallerModel(baseline, result.changes, result.refusals)
        return self.smaller[key]


@dataclass(frozen=True, slots=True)
class SmallerModel:
    """A model with fewer channels, or with products of two weights in place of one.

    Attributes:
        baseline: for the steps that follow.
        changes: by the structural steps.
        refusals: of these.
    """

    baseline: Baseline
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    def apply(self, rest: Recipe) -> SizedRecipe:
        """Apply the steps that follow, and tell of all."""
        applied = self.baseline.apply(rest)
        changes = (*self.changes, *applied.changes)
        refusals = (*self.refusals, *applied.refusals)
        return replace(applied, changes=changes, refusals=refusals)


def _is_plain_weight(tensor: ir.TensorProtocol) -> bool:
    """Check that a tensor is float32, large enough for a method, and carries no notes."""
    if tensor.doc_string or tensor.metadata_props:
        return False  # they are counted where the tensor stays as it is
    return tensor.dtype == ir.DataType.FLOAT and tensor.size >= SMALLEST


def _function_bytes(model: ir.Model) -> dict[str, int]:
    """Bytes of a model's functions in its file, and of the imports of their domains."""
    sizes = {}
    for (domain, name, _), function in model.functions.items():
        content = ir.serde.serialize_function(function).ByteSize()
        sizes[f"{domain}.{name}"] = FUNCTION_TAG_BYTES - 1 + field_size(content)
        imported = onnx.OperatorSetIdProto(domain=domain, version=model.opset_imports[domain])
        sizes[domain] = field_size(imported.ByteSize())
    return sizes


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
        """The simplified model."""
        return compress(self.source, SIMPLIFY, held=0, in_place=self.spare).model

    def at(self, opset: int) -> Model:
        """The simplified model at an opset, or at its own where that is newer.

        It is raised before it is simplified, as ``compress`` does it: converters leave notes.
        """
        if opset <= self.source.opset():
            return self.model
        assert "model" not in vars(self) or not self.spare, "the source is used up"
        inlined = inline_functions(self.source)
        newer = Model(raise_opset(inlined.clone(), opset), self.source.name)
        return compress(newer, SIMPLIFY, held=0, in_place=True).model


class ExactSizes:
    """File sizes of a simplified model under any recipe.

    Args:
        simplified: the model.
        checks: of stored values, as far as they were read already.
    """

    def __init__(self, simplified: Simplified, checks: ValueChecks | None = None) -> None:
        self.simplified = simplified
        self.checks = checks or ValueChecks()
        self._baselines: dict[int, Baseline] = {}

    @property
    def model(self) -> Model:
        """The simplified model."""
        return self.simplified.model

    def baseline(self, opset: int) -> Baseline:
        """The model at an opset, or at its own where that is newer."""
        at = max(opset, self.simplified.source.opset())
        if at not in self._baselines:
            self._baselines[at] = Baseline(self.simplified.at(at), self.checks)
        return self._baselines[at]

    def apply(self, recipe: Recipe, *, last: bool = False) -> SizedRecipe:
        """Apply a recipe to the model at the opset to which the recipe raises it.

        A step that changes nothing raises nothing. The model is simplified already; once more
        would merge the zeros that stand in for different weights.

        Args:
            recipe: steps that need calibration samples get none.
            last: whether nobody needs the model afterwards, so that it may be edited.
        """
        steps = tuple(step for step in recipe.steps if not isinstance(step.config, Simplify))
        recipe = replace(recipe, steps=steps)
        baseline = self.baseline(least_opset(recipe))
        applied = baseline.apply(recipe, last=last)
        methods = {change.method for change in applied.changes}
        acting = tuple(step for step in recipe.steps if step.method in methods)
        lower = self.baseline(least_opset(replace(recipe, steps=acting)))
        if lower is not baseline:
            applied = lower.apply(recipe)
        if applied.changes or last:
            return applied  # after the last recipe the model is not what it was
        return replace(applied, size=self.baseline(0).file.size())


def least_opset(recipe: Recipe) -> int:
    """The opset to which a recipe raises a model where it changes anything."""
    opsets = [METHODS[step.method].opset(step.config) for step in recipe.steps]
    return max(opsets, default=0)


def _integer_size(
    model: Model, recipe: Recipe, checks: ValueChecks, *, in_place: bool
) -> SizedRecipe:
    """Apply a recipe with ``static`` to a model whose weights have a single input each.

    Then the codes are counted as those of the full weights. A weight that a method may refuse for
    its values stays as it is.
    """
    graph = model.graph
    if not in_place:
        graph = model.clone()
    sites = [site for site in weight_sites(graph) if isinstance(site, Weight)]
    floats = [site for site in sites if site.dtype == ir.DataType.FLOAT]
    excepted = _float_ends(graph, floats, recipe)
    integer_steps = [step for step in recipe.steps if step.method in INTEGER]
    usable = [
        site
        for site in floats
        if not checks.may_refuse(site.tensor)
        and site.operator not in excepted
        and any(step.applies_to(site.operator) for step in integer_steps)
    ]
    shapes = dict(_with_narrow_weights(graph, usable))
    narrow = Model(graph, model.name)
    result = compress(narrow, recipe, Calibrator(sizes_only=True), held=0, in_place=True)
    file = skeleton(result.model.graph)
    file = replace(file, tensors=tuple(_with_full_shape(stored, shapes) for stored in file.tensors))
    sizes = {site.operator: site.tensor.nbytes for site in sites}
    return SizedRecipe(file.size(), {}, tuple(_with_full_bytes(result, sizes)), result.refusals)


def _float_ends(graph: ir.Model, sites: Sequence[Weight], recipe: Recipe) -> set[str]:
    """Operators that a step with ``static`` leaves in float because a model begins or ends there.

    Other steps may store their weights, whose shape then counts.
    """
    integer = capabilities("onnxruntime").weight_operators
    ends: set[str] = set()
    for step in recipe.steps:
        if isinstance(step.config, StaticInt8):
            able = [
                site.roles[0].node
                for site in sites
                if step.applies_to(site.operator) and site.roles[0].node.op_type in integer
            ]
            first, last = first_and_last(graph, able)
            floats = first if step.config.first == "float" else frozenset()
            floats |= last if step.config.last == "float" else frozenset()
            ends |= {str(node.name) for node in floats}
    return ends


def _with_narrow_weights(
    graph: ir.Model, sites: Sequence[Weight]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give weights of integer operators a single input, in place; their full shapes by name.

    Only those that the main graph stores: others are not counted by name.
    """
    stored = graph.graph.initializers
    integer = capabilities("onnxruntime").weight_operators
    for site in sites:
        named = stored.get(str(site.value.name)) is site.value
        if named and site.roles[0].node.op_type in integer and site.split_shape == site.shape:
            shape = site.shape
            narrow = list(shape)
            for axis in site.summed:
                narrow[axis] = 1
            site.store(ir.Tensor(np.ones(narrow, np.float32), name=site.value.name))
            yield str(site.value.name), shape


def _with_full_shape(
    tensor: ir.TensorProtocol, shapes: Mapping[str, tuple[int, ...]]
) -> ir.TensorProtocol:
    """A stored tensor with the shape that it has for the full weight."""
    name = str(tensor.name)
    shape = shapes.get(name)
    if shape is None and CODES_SUFFIX in name:
        shape = shapes.get(name.removesuffix(CODES_SUFFIX))
    if shape is None or len(shape) != len(tensor.shape):
        return tensor
    dtype = tensor.dtype
    return ir.LazyTensor(
        lambda: ir.Tensor(np.zeros(shape, dtype.numpy()), dtype=dtype),
        dtype=dtype, shape=ir.Shape(shape), name=name, cache=False,
    )  # fmt: skip


def _with_full_bytes(result: AppliedRecipe, sizes: Mapping[str, int]) -> Iterator[Change]:
    """Changes with the bytes of full weights, whose sizes are given by operator."""
    for change in result.changes:
        before = sizes.get(change.operator, change.before)
        if change.method == "static" and change.before:
            scales = change.after - change.before // 4
            yield replace(change, before=before, after=before // 4 + scales)
        else:
            yield change


@dataclass(frozen=True, slots=True)
class WeightCluster:
    """Operators that share stored values, in the order they run; mostly a single one."""

    nodes: tuple[ir.Node, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the operators."""
        return tuple(str(node.name) for node in self.nodes)


def weight_clusters(model: ir.Model) -> Iterable[WeightCluster]:
    """Operators that read large stored values, in the order they run.

    Operators that share a value, directly or through others, are one cluster.
    """
    parent: dict[ir.Node, ir.Node] = {}

    def root(node: ir.Node) -> ir.Node:
        while parent[node] is not node:
            node = parent[node]
        return node

    for node in nodes(model):
        values = [value for value in node.inputs if value is not None and _is_large(value)]
        if not values:
            continue
        parent[node] = node
        for value in values:
            for reader in value.consumers():
                if reader in parent:
                    parent[root(node)] = root(reader)
    members: dict[ir.Node, list[ir.Node]] = {}
    for node in parent:
        members.setdefault(root(node), []).append(node)
    return (WeightCluster(tuple(cluster)) for cluster in members.values())


def _is_large(value: ir.Value) -> bool:
    """Check that a value is stored, in a Constant too, and not too small for any method."""
    tensor = stored_tensor(value)
    return tensor is not None and tensor.size >= SMALLEST
