"""Compute what is constant as ONNX Runtime computes it, an operator at a time.

The optimizer of onnxscript finds what is constant, and drops what shapes make superfluous. It
computes with ONNX's reference implementation, which for some operators gives other numbers, so that
part is done here. Functions of the model's own stay as they are: what they compute depends on
attributes of each call, and their operators may be of another opset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir
from onnx_ir.passes import common

from packlight.compression.folding.computable import FEW, GROWTH, Array, compute, is_computable
from packlight.compression.folding.stored_results import Constant, computed_constants
from packlight.model import (
    Model,
    confirmed_shapes_only,
    initializers,
    name_operators,
    nodes,
    owning_graph,
    release,
)
from packlight.model.model import TEXTS, stored_texts
from packlight.model.size import field_size, tensor_size

UNKEPT = 2**40
"""Bytes that stand for an operator that cannot be named, and so not be kept."""

UNLIMITED = 2**40
"""Size limit of the optimizer, which is replaced by our limit by operator."""

BARE_NUMBERS = 12
"""The first opset whose Constant holds numbers without a tensor, as the optimizer writes them."""


def fold_constants(graph: ir.Model) -> None:
    """Compute what is constant, where the file becomes no larger by it.

    All of it is computed on a clone first: only then is it known what its results take.
    """
    outside = [value.const_value for value in initializers(graph) if value.const_value]
    name_operators(graph)
    trial = Folding(Model(graph, "").clone())
    trial.run()
    final = Folding(graph, keep=trial.operators_to_keep(), arrays=trial.arrays)
    final.run()
    final.share_equal_results()
    old = graph.opset_imports.get("", 0) < BARE_NUMBERS
    limit = 0 if old else FEW
    common.LiftConstantsToInitializersPass(lift_all_constants=old, size_limit=limit)(graph)
    for tensor in outside:
        release(tensor)


def _write_out_texts(model: ir.Model) -> None:
    """Convert Constants with texts that are not ASCII to tensors, in place, for the optimizer."""
    for node in nodes(model):
        if node.op_type == "Constant" and any(name in node.attributes for name in TEXTS):
            texts = stored_texts(node)
            if texts is not None and not b"".join(texts.string_data()).isascii():
                node.attributes.clear()
                node.attributes.add(ir.AttrTensor("value", texts))


@contextmanager
def _nothing_more_stated(model: ir.Model) -> Iterator[None]:
    """Take off, at the end of a ``with`` block, what it found out: each shape enlarges the file."""
    values = [output for node in nodes(model) for output in node.outputs]
    stated = [(value, value.type, value.shape) for value in values if value.shape is None]
    try:
        yield
    finally:
        for value, kind, shape in stated:
            if not value.is_graph_output():
                value.type = kind
                value.shape = shape


@contextmanager
def _hidden_functions(model: ir.Model) -> Iterator[None]:
    functions = dict(model.functions)
    model.functions.clear()
    try:
        yield
    finally:
        model.functions.update(functions)


@contextmanager
def _hidden_defaults(model: ir.Model) -> Iterator[None]:
    """Hide default values of inputs: to the optimizer they would be constant."""
    graph = model.graph
    defaults = {
        value: value.const_value for value in graph.inputs if value.name in graph.initializers
    }
    for value in defaults:
        del graph.initializers[str(value.name)]
        value.const_value = None
    try:
        yield
    finally:
        for value, tensor in defaults.items():
            value.const_value = tensor
            graph.initializers[str(value.name)] = value


@dataclass(frozen=True, slots=True)
class Fold:
    """An operator whose result took its place.

    Attributes:
        operator: its name; empty where the optimizer made it.
        graph: that it was in.
        bytes: that it took in the file.
        reads: stored values that it read, with their graphs.
        value: its stored result.
    """

    operator: str
    graph: ir.Graph
    bytes: int
    reads: Mapping[ir.Value, ir.Graph]
    value: ir.Value


class Folding:
    """One pass of folding over a graph, in place.

    Args:
        graph: the model.
        keep: names of operators that stay.
        arrays: results by the name of the operator, known already.

    Attributes:
        folds: operators that were replaced by their results.
    """

    def __init__(
        self,
        graph: ir.Model,
        keep: Collection[str] = (),
        arrays: Mapping[str, Array] = MappingProxyType({}),
    ) -> None:
        self.graph = graph
        self.keep = keep
        self.arrays = dict(arrays)
        self.folds: dict[ir.Value, Fold] = {}

    def run(self) -> None:
        """Fold, operator by operator."""
        from onnxscript import optimizer  # noqa: PLC0415  takes long to load

        graph = self.graph
        _write_out_texts(graph)
        with (
            _nothing_more_stated(graph),
            confirmed_shapes_only(graph),
            _hidden_functions(graph),
            _hidden_defaults(graph),
        ):
            optimizer.fold_constants(
                graph,
                input_size_limit=GROWTH,
                output_size_limit=UNLIMITED,
                should_fold=self._fold,
            )

    def _fold(self, node: ir.Node) -> bool:
        """Replace an operator by its result, if it can be computed now.

        The optimizer calls this for every operator whose inputs are all stored; the answer is
        always that it must not compute it itself.
        """
        name = str(node.name or "")
        if name not in self.keep and is_computable(node):
            array = self.arrays.get(name)
            if array is None:
                array = compute(self.graph, node)
            if array is not None:
                if name:
                    self.arrays[name] = array
                self._replace_by_constant(node, array)
        return False

    def _replace_by_constant(self, node: ir.Node, array: Array) -> None:
        """Store an array instead of the operator that computes it."""
        (before,) = node.outputs
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        size = field_size(ir.to_proto(node).ByteSize())
        sources = {value: owning_graph(value) for value in node.inputs if value is not None}
        tensor = ir.tensor(array, name=before.name)
        value = ir.Value(
            name=before.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape),
            const_value=tensor,
        )  # fmt: skip
        before.shape = value.shape
        graph.register_initializer(value)
        ir.convenience.replace_nodes_and_values(graph, node, [node], [], [before], [value])
        self.folds[value] = Fold(str(node.name or ""), graph, size, sources, value)
        for source in sources:
            _drop_unread(source)

    def operators_to_keep(self) -> frozenset[str]:
        """Names of operators whose results take more room than they and what they read."""
        constants: dict[Hashable, Constant] = {}
        members: dict[Hashable, list[Fold]] = {}
        for value, fold in self.folds.items():
            members.setdefault(self._key(value), []).append(fold)
        for key, folds in members.items():
            sources = {source for fold in folds for source in fold.reads}
            size = sum(fold.bytes for fold in folds)
            if not all(fold.operator for fold in folds):
                size = UNKEPT
            constants[key] = Constant(
                _stored_bytes(folds[0].value), size, frozenset(map(self._key, sources))
            )
            for source in sources - self.folds.keys():
                stays = bool(source.uses()) or source.is_graph_output() or source.is_graph_input()
                constants[source] = Constant(0 if stays else _stored_bytes(source))
        read = {self._key(v) for v in self.folds if v.uses() or v.is_graph_output()}
        if not read:
            return frozenset()
        computed = computed_constants(constants, read)
        return frozenset(fold.operator for key in computed for fold in members[key])

    def _key(self, value: ir.Value) -> Hashable:
        """Key that equal results in one graph share."""
        tensor = value.const_value
        if value not in self.folds or value.is_graph_output() or tensor is None:
            return value
        home = self._home(value)
        return (
            id(home),
            tensor.dtype,
            tuple(tensor.shape),
            hashlib.sha256(tensor.tobytes()).digest(),
        )

    def _home(self, value: ir.Value) -> ir.Graph:
        """The outermost graph that has all that a result is computed from."""
        fold = self.folds[value]
        homes = [
            self._home(source) if source in self.folds else graph
            for source, graph in fold.reads.items()
        ]
        if all(home is self.graph.graph for home in homes):
            return self.graph.graph
        return fold.graph

    def share_equal_results(self) -> None:
        """Store equal results of one graph once, and those of several in the outermost one."""
        first: dict[Hashable, ir.Value] = {}
        for value in self.folds:
            if not value.uses() or value.is_graph_output():
                continue
            key = self._key(value)
            kept = first.setdefault(key, value)
            if kept is not value:
                home = self._home(kept)
                if kept.graph is not home:
                    _move(kept, home)
                value.replace_all_uses_with(kept)
                _drop_unread(value)


def _move(value: ir.Value, home: ir.Graph) -> None:
    """Let another graph store a value."""
    assert value.graph is not None
    del value.graph.initializers[str(value.name)]
    home.register_initializer(value)


def _stored_bytes(value: ir.Value) -> int:
    """Bytes of a stored value in the file."""
    node = value.producer()
    if node is not None:
        return field_size(ir.to_proto(node).ByteSize())
    assert value.const_value is not None
    return field_size(tensor_size(value.const_value))


def _drop_unread(value: ir.Value | None) -> None:
    if value is None or not value.is_initializer():
        return
    if value.graph is not None and not (value.uses() or value.is_graph_output()):
        del value.graph.initializers[str(value.name)]
