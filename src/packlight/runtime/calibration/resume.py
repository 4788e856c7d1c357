"""Calibration passes that resume where the last one ended.

Methods that round in the order operators run need pass after pass, each further on. What lies
before is final then. So the values that cross a cut between the operators are cached, and the next
pass runs the model behind the cut alone: every operator runs about once, and no more than a part of
the model is in memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight import runtime
from packlight.model import Model, bodies
from packlight.records.session import SessionOptions
from packlight.runtime.disk_cache import CACHE_BYTES, SampleCache
from packlight.runtime.progress import Progress

if TYPE_CHECKING:
    from packlight.runtime.calls import Steps

Values = Mapping[str, NDArray[np.generic]]

MAX_CUTS = 2
"""Models that are run in turns or at once, each with a cut of its own."""


class ResumableRuns:
    """Values of chosen tensors over samples without a state.

    Args:
        samples: read anew in every pass that begins at the model's inputs.
        options: of the sessions.
        progress: is called before every call.
        max_bytes: of values of one model that are cached between passes; where they are more, the
            next pass begins at the inputs.
    """

    def __init__(
        self,
        samples: Callable[[], Iterable[Steps]],
        options: SessionOptions,
        progress: Progress,
        max_bytes: int = CACHE_BYTES,
    ) -> None:
        self.samples = samples
        self.options = options
        self.progress = progress
        self.max_bytes = max_bytes
        self.cuts: list[tuple[Cut, CutValues]] = []
        self.lock = Lock()

    def values(self, model: Model, names: Sequence[str]) -> Iterator[Values]:
        """Values of each call, one after the other."""
        cut = cut_before(model.graph, names)
        start, samples = self.resumed(model, cut)
        crossing = cut.crossing if cut.upstream else ()
        cached = CutValues(self.max_bytes if crossing else 0)
        for outputs in runtime.stream(start, [*names, *crossing], samples, {}, self.options):
            yield {name: outputs[name] for name in names if name in outputs}
            cached.append({name: outputs[name] for name in crossing})
        if crossing and cached.is_complete:
            with self.lock:
                self.cuts = [*self.cuts[1 - MAX_CUTS :], (cut, cached)]

    def resumed(self, model: Model, cut: Cut) -> tuple[Model, Iterator[Steps]]:
        """The model behind the last cut with its samples, if those still hold; else all of both."""
        for last, cached in self.pop_cuts(model.graph):
            if last.upstream_nodes() <= cut.upstream_nodes() and last.holds(model.graph):
                return downstream_model(model, last, cached.specs), cached.replay(self.progress)
        return model, ([feeds] for steps in self.samples() for feeds in steps)

    def pop_cuts(self, graph: ir.Model) -> list[tuple[Cut, CutValues]]:
        """Take out the cuts of a graph; those of others stay."""
        with self.lock:
            cuts = [
                pair for pair in self.cuts if not pair[0].upstream_nodes().isdisjoint(graph.graph)
            ]
            self.cuts = [pair for pair in self.cuts if pair not in cuts]
        return cuts


class CutValues:
    """The values that crossed a cut, call by call.

    Args:
        max_bytes: that are cached; where there are more, none are.
    """

    def __init__(self, max_bytes: int) -> None:
        self.cache = SampleCache(max_bytes=max_bytes)
        self.specs: dict[str, ValueSpec] = {}
        self.calls = 0

    def append(self, values: Values) -> None:
        """Cache those of one call, if all are arrays; a sequence cannot be fed again."""
        index = self.calls
        self.calls += 1
        if not all(isinstance(value, np.ndarray) for value in values.values()):
            self.cache = SampleCache(max_bytes=0)
            return
        for name, value in values.items():
            dtype = ir.DataType.from_numpy(value.dtype)
            spec = self.specs.get(name) or ValueSpec(dtype, value.shape)
            self.specs[name] = spec.merged(value.shape)
        self.cache.store(index, [values])
        if not self.is_complete:
            self.cache = SampleCache(max_bytes=0)

    @property
    def is_complete(self) -> bool:
        """True if every call is cached."""
        return 0 < self.calls == len(self.cache.stored)

    def replay(self, progress: Progress) -> Iterator[Steps]:
        """Feeds of the model behind the cut, each call as a sample."""
        for index in range(self.calls):
            progress("calibrating", index, self.calls)
            yield self.cache[index]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A cut between the operators of a model.

    Attributes:
        upstream: the operators of the main graph that lie before it, those that still exist.
        crossing: names of the values that operators behind it read of those before it, inputs of
            the model among them.
        dependencies: all that these values are computed from, as it was when the cut was made; what
            no longer exists was replaced.
    """

    upstream: tuple[weakref.ref[ir.Node], ...]
    crossing: tuple[str, ...]
    dependencies: tuple[weakref.ref[object], ...]

    def upstream_nodes(self) -> set[ir.Node]:
        """The operators before it."""
        return {node for node in (ref() for ref in self.upstream) if node is not None}

    def holds(self, graph: ir.Model) -> bool:
        """Tell whether the values that crossed it are still those that the graph would give.

        Operators that were put in since lie behind it, wherever they are in the graph; they must
        read nothing from before it that did not cross.
        """
        current = dependencies(graph, self.crossing)
        upstream = self.upstream_nodes()
        downstream = [node for node in graph.graph if node not in upstream]
        return (
            len(current) == len(self.dependencies)
            and all(old() is new for old, new in zip(self.dependencies, current, strict=True))
            and set(_crossing_values(graph, downstream)) <= set(self.crossing)
        )


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """Type and shape that the values crossing a cut have in common over all calls.

    Attributes:
        dtype: their type.
        shape: of all of them; None for a dimension in which they differ, and for all dimensions
            where their number differs.
    """

    dtype: ir.DataType
    shape: tuple[int | None, ...] | None

    def merged(self, shape: tuple[int, ...]) -> ValueSpec:
        """The spec of these values and of one more."""
        if self.shape is None or len(self.shape) != len(shape):
            return ValueSpec(self.dtype, None)
        pairs = zip(self.shape, shape, strict=True)
        return ValueSpec(self.dtype, tuple(old if old == new else None for old, new in pairs))

    def trusted_shape(self, stored: ir.Shape | None) -> ir.Shape | None:
        """The shape that a model stores, as far as it holds.

        A stored shape of an inner value binds nobody: exporters leave those of the batch that they
        ran, and ONNX Runtime runs others all the same. An input of that shape would refuse them.
        """
        if stored is None or self.shape is None or len(stored) != len(self.shape):
            return None
        pairs = zip(stored, self.shape, strict=True)
        return ir.Shape(None if isinstance(size, int) and size != actual else size
                        for size, actual in pairs)  # fmt: skip


def cut_before(graph: ir.Model, names: Collection[str]) -> Cut:
    """The last cut behind which every reader of these values lies."""
    index = _first_reader(graph, names)
    order = list(graph.graph)
    crossing = _crossing_values(graph, order[index:])
    current = tuple(weakref.ref(item) for item in dependencies(graph, crossing))
    return Cut(tuple(map(weakref.ref, order[:index])), crossing, current)


def _crossing_values(graph: ir.Model, downstream: Collection[ir.Node]) -> tuple[str, ...]:
    dependent = _input_dependent_values(graph)
    computed = {id(value) for node in downstream for value in node.outputs}
    read = dict.fromkeys(value for node in downstream for value in _nested_inputs(node))
    return tuple(
        str(value.name) for value in read if value in dependent and id(value) not in computed
    )


def _first_reader(graph: ir.Model, names: Collection[str]) -> int:
    """Index of the first operator that reads one of these values, or makes one that none reads."""
    unread = set(names)
    first = len(graph.graph)
    for index, node in enumerate(graph.graph):
        read = unread & {str(value.name) for value in _nested_inputs(node)}
        if read:
            first = min(first, index)
            unread -= read
    for index, node in enumerate(graph.graph):
        if unread & {str(value.name) for value in _nested_outputs(node)}:
            return min(first, index)
    return first


def _nested_inputs(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        yield from body.outputs
        for inner in body:
            yield from _nested_inputs(inner)


def _nested_outputs(node: ir.Node) -> Iterator[ir.Value]:
    yield from node.outputs
    for body in bodies(node):
        for inner in body:
            yield from _nested_outputs(inner)


def _input_dependent_values(graph: ir.Model) -> set[ir.Value]:
    dependent = {value for value in graph.graph.inputs if value.const_value is None}
    for node in graph.graph:
        if any(value in dependent for value in _nested_inputs(node)):
            dependent.update(node.outputs)
    return dependent


def dependencies(graph: ir.Model, names: Collection[str]) -> list[object]:
    """Every operator and stored tensor that values of the main graph depend on, in order."""
    needed = set(names)
    items: list[object] = []
    for node in reversed(list(graph.graph)):
        if needed & {str(value.name) for value in node.outputs}:
            items.append(node)
            items += stored_tensors(node)
            needed.update(str(value.name) for value in _nested_inputs(node))
    return items


def stored_tensors(node: ir.Node) -> Iterator[object]:
    """Values that an operator reads, with tensors they store, and tensors among its attributes."""
    for value in _nested_inputs(node):
        yield value
        if value.const_value is not None:
            yield value.const_value
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.TENSOR:
            yield attribute.as_tensor()


def downstream_model(model: Model, cut: Cut, specs: Mapping[str, ValueSpec]) -> Model:
    """The model behind a cut, with an input for every value that crosses it.

    Args:
        model: stays as it is.
        cut: through its graph.
        specs: of the values, by name.
    """
    clone = model.graph.clone()
    graph = clone.graph
    upstream = cut.upstream_nodes()
    copies = zip(model.graph.graph, graph, strict=True)
    before = [copy for node, copy in copies if node in upstream]
    dependent = _input_dependent_values(clone)
    values = {value.name: value for node in before for value in node.outputs}
    values.update({value.name: value for value in graph.inputs})
    removed = [node for node in before if any(value in dependent for value in node.outputs)]
    upstream_values = [value for node in removed for value in node.outputs]
    passed_through = [value for value in graph.inputs if value.name not in cut.crossing]
    _drop_outputs(graph, {id(value) for value in (*upstream_values, *passed_through)})
    inputs = [_input_in_place_of(values[name], specs[name]) for name in cut.crossing]
    for node in removed:
        _detach_bodies(node)
    graph.remove(removed, safe=True)
    stored = [value for value in graph.inputs if value.const_value is not None]
    graph.inputs.clear()
    graph.inputs.extend([*inputs, *stored])
    return Model(clone, model.name)


def _input_in_place_of(value: ir.Value, spec: ValueSpec) -> ir.Value:
    """An input for all readers of a value; an input of the model is one already."""
    if value.is_graph_input():
        return value
    shape = spec.trusted_shape(value.shape)
    graph_input = ir.Value(name=value.name, shape=shape, type=ir.TensorType(spec.dtype))
    value.name = None
    ir.convenience.replace_all_uses_with(value, graph_input)
    return graph_input


def _detach_bodies(node: ir.Node) -> None:
    for body in bodies(node):
        for inner in body:
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)
            _detach_bodies(inner)


def _drop_outputs(graph: ir.Graph, dropped: Collection[int]) -> None:
    outputs = [value for value in graph.outputs if id(value) not in dropped]
    graph.outputs.clear()
    graph.outputs.extend(outputs)
