"""Exact sizes of files that were never made, part by part.

What a method adds to a file and takes from it lies in fields of their own, one for each operator
and stored value, so it adds up over operators. A part is found by the very code that writes files:
the recipe is applied to a model of this one operator, whose weights nobody computes. Operators that
differ in names alone cost the same, and are looked at once. All that is read of weights is whether
numbers are NaN, too large or all too small for a method: such weights it is shown as they are.
Source: the Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx
import onnx_ir as ir

from packlight.compression import compress
from packlight.compression.encoding.functions import DOMAIN
from packlight.compression.encoding.storage import COMPUTED_STEMS, NEXT_STEM, fresh_stem
from packlight.compression.methods.table import METHODS
from packlight.model import Model, graphs, raise_opset
from packlight.model.size import Skeleton, field_size, skeleton, tensor_size
from packlight.planning.size.biases import Place, bias_places
from packlight.planning.size.clusters import ANNOTATION, Cluster, clusters, large
from packlight.planning.value_checks import Numbers
from packlight.records.codec import digest
from packlight.records.configs import Simplify
from packlight.records.recipe import Recipe, Step
from packlight.records.variant import Change, Refusal

FUNCTION_TAG = 2
"""Bytes of the tag of a function in a file: its number is above 15."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a recipe does to some operators.

    Attributes:
        growth: bytes that the graph grows by; mostly below 0.
        functions: that it calls, with the bytes that each takes in the file.
        changes: what is changed.
        refusals: what is left as it is, and why.
    """

    growth: int
    functions: Mapping[str, int]
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    def named(self, names: Mapping[str, str]) -> Part:
        """The same for operators of other names."""
        return replace(
            self,
            changes=tuple(
                replace(c, operator=names.get(c.operator, c.operator)) for c in self.changes
            ),
            refusals=tuple(
                replace(r, operator=names.get(r.operator, r.operator)) for r in self.refusals
            ),
        )


NOTHING = Part(0, {}, (), ())


@dataclass
class Base:
    """A model at one opset, as its file is before a recipe changes anything.

    Attributes:
        model: at that opset.
        numbers: that are stored.
        parts: what was found so far, by recipe and kind of cluster, and of which cluster.
    """

    model: ir.Model
    numbers: Numbers
    parts: dict[tuple[str, int], tuple[Cluster, Part]] = field(default_factory=dict)

    @cached_property
    def file(self) -> Skeleton:
        """Its file without stored values."""
        return skeleton(self.model)

    @cached_property
    def clusters(self) -> tuple[Cluster, ...]:
        """Operators that read large stored values."""
        return tuple(clusters(self.model))

    @cached_property
    def adds_up(self) -> bool:
        """Whether what a recipe does to the file is the sum of what it does to clusters."""
        return in_main_graph(self.model)

    @cached_property
    def kinds(self) -> list[int]:
        """Of each cluster, a number that those share which a recipe does the same to."""
        numbers: dict[tuple[object, ...], int] = {}
        return [numbers.setdefault(each.key(self.numbers), len(numbers)) for each in self.clusters]

    @cached_property
    def first_stem(self) -> int:
        """Number of the first name under which a recipe stores anything."""
        view = ir.Model(
            self.model.graph, ir_version=self.model.ir_version,
            functions=[*self.model.functions.values()],
        )  # fmt: skip
        return int(fresh_stem(view)[1:])

    @cached_property
    def functions(self) -> frozenset[str]:
        """Functions and imports that its file has already."""
        return frozenset({*functions(self.model), *self.model.opset_imports})

    @cached_property
    def biases(self) -> tuple[Place, ...]:
        """Where steps with samples make biases."""
        return tuple(bias_places(self.model))


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

    def at(self, opset: int) -> ir.Model:
        """The simplified graph at an opset, or at its own where that is newer.

        It is raised before it is simplified, as ``compress`` does it: converters leave notes.
        """
        if opset <= self.source.opset():
            return self.model.graph
        assert "model" not in vars(self) or not self.spare, "the source is used up"
        newer = Model(raise_opset(self.source.clone(), opset), self.source.name)
        return compress(newer, SIMPLIFY, held=0, in_place=True).model.graph


SIMPLIFY = Recipe((Step(Simplify()),))


class Sizes:
    """File sizes of a model under any recipe that needs no samples, and simplifies it first.

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

    def parts(self, base: Base, recipe: Recipe) -> list[Part]:
        """What a recipe does to every cluster of a base.

        Raises:
            RecipeError: the recipe looks at samples, or names what does not exist.
        """
        name, found = digest(recipe), list[Part]()
        for kind, cluster in zip(base.kinds, base.clusters, strict=True):
            if (name, kind) not in base.parts:
                base.parts[name, kind] = cluster, measured(base, cluster, recipe)
            like, part = base.parts[name, kind]
            same = like is cluster
            found.append(
                part if same else part.named(dict(zip(like.names, cluster.names, strict=True)))
            )
        return found

    def total(self, base: Base, parts: Iterable[Part]) -> int:
        """Bytes of the file after so much is done to a base; the model's own where nothing is."""
        found = list(parts)
        if not any(part.changes for part in found):
            return self.base(0).file.size()
        called = {id(part.functions): part.functions for part in found}  # parts alike share theirs
        functions = {
            name: size
            for sizes in called.values()
            for name, size in sizes.items()
            if name not in base.functions
        }
        graph = base.file.graph_size + sum(part.growth for part in found)
        whole = len(base.file.before) + field_size(graph) + len(base.file.after)
        return whole + sum(functions.values())

    def size(self, recipe: Recipe) -> int:
        """Bytes of the file that a recipe makes."""
        base, parts = self.looked_at(recipe)
        return self.total(base, parts)

    def looked_at(self, recipe: Recipe) -> tuple[Base, list[Part]]:
        """What a recipe does, to the model at the opset to which it raises it.

        A step that changes nothing raises nothing. Without parts where they do not add up.
        """
        base = self.base(least_opset(recipe))
        parts = self.parts(base, recipe) if base.adds_up else []
        lower = self.base(least_opset(acting(recipe, parts))) if parts else base
        return (base, parts) if lower is base else (lower, self.parts(lower, recipe))


def least_opset(recipe: Recipe) -> int:
    """The opset that a recipe raises a model to where it changes anything."""
    opsets = [METHODS[step.method].opset(step.config) for step in recipe.steps]
    return max(opsets, default=0)


def acting(recipe: Recipe, parts: Iterable[Part]) -> Recipe:
    """The steps of a recipe whose methods change something."""
    methods = {change.method for part in parts for change in part.changes}
    return replace(recipe, steps=tuple(step for step in recipe.steps if step.method in methods))


def measured(base: Base, cluster: Cluster, recipe: Recipe) -> Part:
    """Apply a recipe to a model of some operators alone."""
    small = alone(base, cluster)
    before = skeleton(small).graph_size
    made = compress(Model(small, "part"), recipe, held=0, in_place=True)
    if not made.changes:
        return Part(0, {}, (), made.refusals)
    growth = skeleton(made.model.graph).graph_size - before
    left = made.model.graph.graph.initializers
    stored = {str(v.name): v for node in cluster.nodes for v in node.inputs if v and v.const_value}
    growth -= sum(notes_size(value) for name, value in stored.items() if name not in left)
    return Part(growth, functions(made.model.graph), made.changes, made.refusals)


def notes_size(value: ir.Value) -> int:
    """Bytes of what the tensor of a stored value says beside name, type, shape and numbers."""
    real, plain = value.const_value, standing_in(value)
    assert real is not None
    real.name = value.name
    return field_size(tensor_size(real)) - field_size(tensor_size(plain))


def alone(base: Base, cluster: Cluster) -> ir.Model:
    """A model of some operators, whose stored values have shapes and no content, if any will do."""
    model, numbers = base.model, base.numbers
    values: dict[int, ir.Value] = {}
    read, outputs, nodes = list[ir.Value](), list[ir.Value](), list[ir.Node]()
    for node in cluster.nodes:
        for value in node.inputs:
            if value is not None and id(value) not in values:
                values[id(value)] = copied(value, numbers)
                read.append(value)
        made = [copied(value, numbers) for value in node.outputs]
        values |= {id(old): new for old, new in zip(node.outputs, made, strict=True)}
        outputs += [value for value in made if value.name]
        inputs = [None if value is None else values[id(value)] for value in node.inputs]
        copy = ir.Node(
            node.domain, node.op_type, inputs, node.attributes.values(),
            overload=node.overload, outputs=made, version=node.version, name=node.name,
        )  # fmt: skip
        nodes.append(copy)
    fed = [values[id(v)] for v in read if v.const_value is None or v.is_graph_input()]
    stored = [values[id(v)] for v in read if v.const_value is not None]
    outputs += [values[id(v)] for v in read if v.is_graph_output() and v.const_value is not None]
    graph = ir.Graph(
        fed, outputs, nodes=nodes, initializers=stored,
        opset_imports=dict(model.graph.opset_imports), name="part",
    )  # fmt: skip
    own = [function for function in model.functions.values() if function.domain == DOMAIN]
    small = ir.Model(graph, ir_version=model.ir_version, functions=own)
    small.meta.update({NEXT_STEM: base.first_stem, COMPUTED_STEMS: set[str]()})
    return small


def copied(value: ir.Value, numbers: Numbers) -> ir.Value:
    """A value of the same name and type; zeros, made when they are read, where it is stored.

    What is stored stays as it is where a method may refuse its numbers.
    """
    tensor = value.const_value
    new = ir.Value(name=value.name, type=value.type, shape=value.shape)
    if tensor is None:
        return new
    new.const_value = tensor if numbers.extreme(tensor) else standing_in(value)
    new.doc_string, new.meta[ANNOTATION] = value.doc_string, value.meta.get(ANNOTATION)
    new.metadata_props.update(value.metadata_props)
    return new


def standing_in(value: ir.Value) -> ir.TensorProtocol:
    """Zeros of a stored value's type and shape, made when they are read."""
    tensor = value.const_value
    assert tensor is not None
    dtype, shape = tensor.dtype, tensor.shape.numpy()
    return ir.LazyTensor(
        lambda: ir.Tensor(np.zeros(shape, dtype.numpy()), dtype=dtype),
        dtype=dtype, shape=ir.Shape(shape), name=value.name, cache=False,
    )  # fmt: skip


def functions(model: ir.Model) -> dict[str, int]:
    """Bytes of a model's functions in its file, and of the imports of their domains."""
    sizes = {}
    for (domain, name, _), function in model.functions.items():
        content = ir.serde.serialize_function(function).ByteSize()
        sizes[f"{domain}.{name}"] = FUNCTION_TAG - 1 + field_size(content)
        imported = onnx.OperatorSetIdProto(domain=domain, version=model.opset_imports[domain])
        sizes[domain] = field_size(imported.ByteSize())
    return sizes


def in_main_graph(model: ir.Model) -> bool:
    """Whether all large stored values lie where parts add up: stored by the main graph itself."""
    main, *inner = graphs(model)
    constants = (node.outputs[0] for graph in (main, *inner) for node in graph if not node.inputs)
    stored = (value for graph in inner for value in graph.initializers.values())
    across = (
        v for v in main.initializers.values() if any(n.graph is not main for n in v.consumers())
    )
    return not any(map(large, itertools.chain(constants, stored, across)))
