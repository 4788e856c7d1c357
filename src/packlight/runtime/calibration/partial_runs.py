"""A model run in parts, each from where the one before it ended.

A line parts a graph in two: what crosses it are the values that operators behind it read of those
before it. Whoever keeps them can run what lies behind without what lies before.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from packlight.model import Model, bodies


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A place between the operators of a model.

    Attributes:
        before: the operators of the main graph that lie before it, those that are still there.
        crossing: names of the values that operators behind it read of those before it, inputs of
            the model among them.
        settled: all that these values are made from, as it was when the line was drawn; what is
            no longer there was replaced.
    """

    before: tuple[weakref.ref[ir.Node], ...]
    crossing: tuple[str, ...]
    settled: tuple[weakref.ref[object], ...]

    def first(self) -> set[ir.Node]:
        """The operators before it."""
        return {node for node in (one() for one in self.before) if node is not None}

    def holds(self, graph: ir.Model) -> bool:
        """Whether the values that crossed it are still those that the graph would give.

        Operators that were put in since lie behind it, whatever their place; they must read
        nothing of before that did not cross.
        """
        made = sources(graph, self.crossing)
        first = self.first()
        behind = [node for node in graph.graph if node not in first]
        return (
            len(made) == len(self.settled)
            and all(old() is new for old, new in zip(self.settled, made, strict=True))
            and set(crossing(graph, behind)) <= set(self.crossing)
        )


@dataclass(frozen=True, slots=True)
class Form:
    """What the values that crossed a line at one place have in common.

    Attributes:
        kind: their type.
        shape: of all of them; None for a dimension in which they differ, or alone for the number of
            dimensions.
    """

    kind: ir.DataType
    shape: tuple[int | None, ...] | None

    def with_another(self, shape: tuple[int, ...]) -> Form:
        """The form of these values and of one more."""
        if self.shape is None or len(self.shape) != len(shape):
            return Form(self.kind, None)
        both = zip(self.shape, shape, strict=True)
        return Form(self.kind, tuple(one if one == other else None for one, other in both))

    def believed(self, stored: ir.Shape | None) -> ir.Shape | None:
        """What a model says of the shape, as far as it holds.

        A stored shape of an inner value binds nobody: exporters leave those of the batch that they
        saw, and ONNX Runtime runs others all the same. An input of that shape would refuse them.
        """
        if stored is None or self.shape is None or len(stored) != len(self.shape):
            return None
        both = zip(stored, self.shape, strict=True)
        return ir.Shape(None if isinstance(told, int) and told != seen else told
                        for told, seen in both)  # fmt: skip


def line_before(graph: ir.Model, names: Collection[str]) -> Line:
    """The last line behind which every reader of these values lies."""
    place, order = least_place(graph, names), list(graph.graph)
    found = crossing(graph, order[place:])
    settled = tuple(weakref.ref(thing) for thing in sources(graph, found))
    return Line(tuple(map(weakref.ref, order[:place])), found, settled)


def crossing(graph: ir.Model, behind: Collection[ir.Node]) -> tuple[str, ...]:
    """Names of the values that some operators read of the others, or of the model's inputs."""
    fed = fed_values(graph)
    made = {id(value) for node in behind for value in node.outputs}
    read = dict.fromkeys(value for node in behind for value in reads(node))
    return tuple(str(value.name) for value in read if value in fed and id(value) not in made)


def least_place(graph: ir.Model, names: Collection[str]) -> int:
    """Place of the first operator that reads one of these values, or makes one that none reads."""
    unread, found = set(names), len(graph.graph)
    for place, node in enumerate(graph.graph):
        seen = unread & {str(value.name) for value in reads(node)}
        if seen:
            found = min(found, place)
            unread -= seen
    for place, node in enumerate(graph.graph):
        if unread & {str(value.name) for value in makes(node)}:
            return min(found, place)
    return found


def reads(node: ir.Node) -> Iterator[ir.Value]:
    """What an operator reads, the operators in its bodies included."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        yield from body.outputs
        for inner in body:
            yield from reads(inner)


def makes(node: ir.Node) -> Iterator[ir.Value]:
    """What an operator makes, the operators in its bodies included."""
    yield from node.outputs
    for body in bodies(node):
        for inner in body:
            yield from makes(inner)


def fed_values(graph: ir.Model) -> set[ir.Value]:
    """Values of the main graph that follow from what the model is fed."""
    found = {value for value in graph.graph.inputs if value.const_value is None}
    for node in graph.graph:
        if any(value in found for value in reads(node)):
            found.update(node.outputs)
    return found


def sources(graph: ir.Model, names: Collection[str]) -> list[object]:
    """Every operator and stored tensor from which values of the main graph are made, in order."""
    needed = set(names)
    found: list[object] = []
    for node in reversed(list(graph.graph)):
        if needed & {str(value.name) for value in node.outputs}:
            found.append(node)
            found += stored_in(node)
            needed.update(str(value.name) for value in reads(node))
    return found


def stored_in(node: ir.Node) -> Iterator[object]:
    """Values that an operator reads, with tensors they store, and tensors among its attributes."""
    for value in reads(node):
        yield value
        if value.const_value is not None:
            yield value.const_value
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.TENSOR:
            yield attribute.as_tensor()


def behind(model: Model, line: Line, forms: Mapping[str, Form]) -> Model:
    """A model of what lies behind a line, fed with the values that cross it.

    Args:
        model: stays as it is.
        line: drawn in its graph.
        forms: of the values, by name.
    """
    clone = model.graph.clone()
    graph, first = clone.graph, line.first()
    copies = zip(model.graph.graph, graph, strict=True)
    before = [copy for node, copy in copies if node in first]
    fed = fed_values(clone)
    known = {value.name: value for node in before for value in node.outputs}
    known.update({value.name: value for value in graph.inputs})
    gone = [node for node in before if any(value in fed for value in node.outputs)]
    leave_out_outputs(graph, {id(value) for node in gone for value in node.outputs})
    entries = [entry(known[name], forms[name]) for name in line.crossing]
    for node in gone:
        detach_bodies(node)
    graph.remove(gone, safe=True)
    stored = [value for value in graph.inputs if value.const_value is not None]
    graph.inputs.clear()
    graph.inputs.extend([*entries, *stored])
    return Model(clone, model.name)


def entry(value: ir.Value, form: Form) -> ir.Value:
    """An input for everyone who reads a value; an input of the model is one already."""
    if value.is_graph_input():
        return value
    made = ir.Value(
        name=value.name, shape=form.believed(value.shape), type=ir.TensorType(form.kind)
    )
    value.name = None
    ir.convenience.replace_all_uses_with(value, made)
    return made


def detach_bodies(node: ir.Node) -> None:
    """Let operators in the bodies of an operator read nothing, so that it can be taken out."""
    for body in bodies(node):
        for inner in body:
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)
            detach_bodies(inner)


def leave_out_outputs(graph: ir.Graph, gone: Collection[int]) -> None:
    """Take outputs out by identity of their values, in place."""
    kept = [value for value in graph.outputs if id(value) not in gone]
    graph.outputs.clear()
    graph.outputs.extend(kept)
