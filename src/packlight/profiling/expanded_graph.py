"""The graph as it is counted: calls of the model's own functions written out, every shape inferred.

It is a copy with large weights left out, so that nothing of them is read or kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir

from packlight.model import Model, Shape, graphs, nodes, operators, release
from packlight.model.shapes import LARGE, weights_as_inputs
from packlight.profiling.shape_values import complete_shapes
from packlight.profiling.stand_ins import is_added, is_replaced, stand_in

ORIGIN = "packlight.origin"
"""Note on an operator of the copy: the place of the one it comes from, in the order they run.

It is there where operators are replaced or functions are called."""

HOLD_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)

FunctionKey = tuple[str, str, str]
"""Domain, name and overload."""


@dataclass(frozen=True, slots=True, eq=False)
class Expanded:
    """A copy of a model in which shapes are inferred.

    Attributes:
        graph: the copy.
        origin: by operator of the copy, the operator of the model that it comes from: itself, or
            the call whose body it is in.
    """

    graph: ir.Model
    origin: Mapping[ir.Node, ir.Node]


def expand(model: Model, inputs: Mapping[str, Shape], seen: Mapping[str, Shape]) -> Expanded:
    """Write out calls and infer shapes, in a copy.

    Args:
        model: the model.
        inputs: shapes of its inputs; those not named stay as declared.
        seen: shapes that a run showed, by name of the value.
    """
    clone = model.clone()
    replaced = any(map(is_replaced, nodes(clone)))
    for place, node in enumerate(nodes(clone)):
        node.metadata_props.clear()
        if replaced or model.graph.functions:
            node.metadata_props[ORIGIN] = str(place)
    state_shapes(clone, inputs)
    stand_in(clone)
    take_in_small(clone)
    weights_as_inputs(clone)
    proto = ir.to_proto(clone)
    bodies = function_sizes(proto)
    if bodies:
        proto = onnx.inliner.inline_local_functions(proto)
        whole = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    else:
        whole = clone
        adopt_inferred(clone.graph, onnx.shape_inference.infer_shapes(proto, data_prop=True).graph)
    if replaced or bodies:
        origin = dict(paired(whole.graph, model.graph.graph, bodies))
    else:
        origin = dict(zip(nodes(whole), nodes(model.graph), strict=True))
    adopt_seen(whole, seen)
    complete_shapes(whole)
    return Expanded(whole, origin)


def reconnect(expanded: Expanded) -> None:
    """Give what stands for an operator its type, its name and all that it reads, in place.

    Shapes are known by then, and what must be in memory at once depends on all that is read.
    """
    reconnect_within(expanded.graph.graph, expanded.origin, {})


def reconnect_within(
    graph: ir.Graph, origin: Mapping[ir.Node, ir.Node], around: Mapping[str, ir.Value]
) -> None:
    """The same for one graph, of which the values around it are known by name."""
    known = {**around, **{str(value.name): value for value in graph.inputs}, **graph.initializers}
    for node in graph:
        for body in bodies_of(node):
            reconnect_within(body, origin, known)
        if is_replaced(origin[node]) and not is_added(node.outputs[0]):
            take_after(node, origin[node], known)
        known.update((str(value.name), value) for value in node.outputs)


def take_after(node: ir.Node, original: ir.Node, known: Mapping[str, ir.Value]) -> None:
    """Make an operator what it stands for, in place; it keeps its results."""
    node.domain, node.op_type, node.name = original.domain, original.op_type, original.name
    node.resize_inputs(len(original.inputs))
    for place, value in enumerate(original.inputs):
        node.replace_input_with(place, None if value is None else known.get(str(value.name)))


def state_shapes(model: ir.Model, inputs: Mapping[str, Shape]) -> None:
    """Write shapes of inputs into a graph.

    A declared dimension of another value stays only where it is a number: what the inputs are now
    says what the others become.
    """
    for value in model.graph.inputs:
        if str(value.name) in inputs:
            value.shape = ir.Shape(inputs[str(value.name)])
    for node in nodes(model):
        for value in node.outputs:
            if value.shape is not None and not value.is_graph_output():
                fixed = [size if isinstance(size, int) else None for size in value.shape]
                value.shape = ir.Shape(fixed)


def adopt_inferred(graph: ir.Graph, inferred: onnx.GraphProto) -> None:
    """Write types and shapes that ONNX inferred into the graph that it inferred them of."""
    for value in graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    told = {info.name: info.type for info in (*inferred.value_info, *inferred.output)}
    for node, proto in zip(graph, inferred.node, strict=True):
        for value in node.outputs:
            if value.name in told:
                adopt(value, told[value.name])
        for body, inner in zip(bodies_of(node), proto_bodies(proto), strict=True):
            for value, info in zip(body.inputs, inner.input, strict=True):
                adopt(value, info.type)
            adopt_inferred(body, inner)


def adopt(value: ir.Value, told: onnx.TypeProto) -> None:
    """Write a type and a shape into a value, as far as they are stated."""
    kind, shape = type_and_shape(told.SerializeToString())
    if kind is not None:
        value.type = own(kind)  # values change theirs in place
    if shape is not None:
        value.shape = shape


def own(kind: ir.TypeProtocol) -> ir.TypeProtocol:
    """A copy of a type."""
    plain = type(kind) is ir.TensorType  # nearly all are, and there may be very many
    return ir.TensorType(kind.dtype, denotation=kind.denotation) if plain else deepcopy(kind)


@lru_cache(maxsize=1024)
def type_and_shape(proto: bytes) -> tuple[ir.TypeProtocol | None, ir.Shape | None]:
    """The type and the shape that a serialised ``TypeProto`` states; the shape may be shared."""
    told = onnx.TypeProto.FromString(proto)
    shape = ir.serde.deserialize_type_proto_for_shape(told)
    frozen = None if shape is None else ir.Shape(list(shape), frozen=True)
    return ir.serde.deserialize_type_proto_for_type(told), frozen


def proto_bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The subgraphs of an operator, in the order of their names."""
    held = sorted(node.attribute, key=lambda attribute: attribute.name)
    return [graph for one in held for graph in ([one.g] if one.HasField("g") else one.graphs)]


def adopt_seen(model: ir.Model, seen: Mapping[str, Shape]) -> None:
    """Write shapes that a run showed into a graph."""
    for node in nodes(model):
        for value in node.outputs:
            if str(value.name) in seen:
                value.shape = ir.Shape(seen[str(value.name)])


def take_in_small(model: ir.Model) -> None:
    """Read small tensors in external data: inference looks at values only inside the file."""
    for graph in graphs(model):
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes <= LARGE:
                value.const_value = ir.Tensor(np.array(tensor.numpy()), tensor.dtype, name=name)
                release(tensor)


def function_key(node: ir.Node) -> FunctionKey:
    """Which function an operator calls, if it calls one."""
    return node.domain, node.op_type, node.overload


def function_sizes(proto: onnx.ModelProto) -> dict[FunctionKey, int]:
    """How many operators a call of each function becomes, those in subgraphs not counted."""
    own = {(one.domain, one.name, one.overload): one for one in proto.functions}
    sizes: dict[FunctionKey, int] = {}

    def size(key: FunctionKey) -> int:
        if key not in sizes:
            inner = ((node.domain, node.op_type, node.overload) for node in own[key].node)
            sizes[key] = sum(size(call) if call in own else 1 for call in inner)
        return sizes[key]

    for key in own:
        size(key)
    return sizes


def paired(
    copy: ir.Graph, original: ir.Graph, bodies: Mapping[FunctionKey, int]
) -> Iterator[tuple[ir.Node, ir.Node]]:
    """Each operator of an expanded graph with the one that it comes from.

    What a call becomes stands where the call was, without the note that others carry; what stands
    for an operator carries the operator's.
    """
    rest = deque(copy)
    for node in original:
        place = rest[0].metadata_props.get(ORIGIN) if rest else None
        size = bodies.get(function_key(node), 0) if place is None else 0
        while rest and (size > 0 if place is None else rest[0].metadata_props.get(ORIGIN) == place):
            found, size = rest.popleft(), size - 1
            yield found, node
            yield from inner(found, node, bodies)


def inner(
    found: ir.Node, node: ir.Node, bodies: Mapping[FunctionKey, int]
) -> Iterator[tuple[ir.Node, ir.Node]]:
    """The same for the operators in an operator's bodies."""
    called = ORIGIN not in found.metadata_props
    for copy, original in zip(bodies_of(found), bodies_of(node), strict=False):
        if not called:
            yield from paired(copy, original, bodies)
    if called:
        for copy in bodies_of(found):
            yield from ((each, node) for each in operators(copy))


def bodies_of(node: ir.Node) -> list[ir.Graph]:
    """The subgraphs of an operator, in the order of their names."""
    if not node.attributes.data:
        return []
    held = [name for name, attribute in node.attributes.items() if attribute.type in HOLD_GRAPHS]
    found: list[ir.Graph] = []
    for name in sorted(held):
        attribute = node.attributes[name]
        single = attribute.type == ir.AttributeType.GRAPH
        found += [attribute.as_graph()] if single else attribute.as_graphs()
    return found
