"""The graph to count: calls of the model's own functions inlined, every shape inferred.

It is a copy without large weights, so that none of them is read or stays in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import takewhile
from operator import eq

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir

from packlight.model import Model, Shape, graphs, nodes, operators, release
from packlight.model.map_types import from_proto, has_map
from packlight.model.shapes import LARGE, weights_as_inputs
from packlight.profiling.shape_values import complete_shapes
from packlight.profiling.stand_ins import is_added, is_replaced, stand_in

ORIGIN = "packlight.origin"
"""Tag on an operator of the copy: the index of its original, in the order they run.

It is set where operators are replaced or functions are called."""


FunctionKey = tuple[str, str, str]
"""Domain, name and overload."""


@dataclass(frozen=True, slots=True, eq=False)
class Expanded:
    """A copy of a model with inferred shapes.

    Attributes:
        graph: the copy.
        origin: by operator of the copy, the operator of the model that it comes from: its
            original, or the call whose body it is in.
    """

    graph: ir.Model
    origin: Mapping[ir.Node, ir.Node]


def expand(model: Model, inputs: Mapping[str, Shape], observed: Mapping[str, Shape]) -> Expanded:
    """Inline functions and infer shapes, in a copy.

    Args:
        model: the model.
        inputs: shapes of its inputs; inputs without one stay as declared.
        observed: shapes that a run showed, by name of the value.
    """
    clone = model.clone()
    replaced = any(map(is_replaced, nodes(clone)))
    for index, node in enumerate(nodes(clone)):
        node.metadata_props.clear()
        if replaced or model.graph.functions:
            node.metadata_props[ORIGIN] = str(index)
    _set_input_shapes(clone, inputs)
    stand_in(clone)
    _load_small_tensors(clone)
    weights_as_inputs(clone)
    proto = ir.to_proto(clone)
    bodies = _function_sizes(proto)
    if bodies:
        proto = onnx.inliner.inline_local_functions(proto)
        expanded = from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    else:
        expanded = clone
        _set_inferred(clone.graph, onnx.shape_inference.infer_shapes(proto, data_prop=True).graph)
    if replaced or bodies:
        origin = dict(_pair_nodes(expanded.graph, model.graph.graph, bodies))
    else:
        origin = dict(zip(nodes(expanded), nodes(model.graph), strict=True))
    _set_observed_shapes(expanded, observed)
    complete_shapes(expanded)
    return Expanded(expanded, origin)


def reconnect(expanded: Expanded) -> None:
    """Restore the type, name and inputs of the operators behind stand-ins, in place.

    Shapes are known by then, and peak memory depends on all inputs.
    """
    _reconnect_graph(expanded.graph.graph, expanded.origin, {})


def _reconnect_graph(
    graph: ir.Graph, origin: Mapping[ir.Node, ir.Node], outer: Mapping[str, ir.Value]
) -> None:
    """Reconnect one graph; values of the outer graphs are known by name."""
    values = {**outer, **{str(value.name): value for value in graph.inputs}, **graph.initializers}
    for node in graph:
        for body in bodies_of(node):
            _reconnect_graph(body, origin, values)
        if is_replaced(origin[node]) and not is_added(node.outputs[0]):
            _restore_original(node, origin[node], values)
        values.update((str(value.name), value) for value in node.outputs)


def _restore_original(node: ir.Node, original: ir.Node, values: Mapping[str, ir.Value]) -> None:
    node.domain = original.domain
    node.op_type = original.op_type
    node.name = original.name
    node.resize_inputs(len(original.inputs))
    for index, value in enumerate(original.inputs):
        node.replace_input_with(index, None if value is None else values.get(str(value.name)))


def _set_input_shapes(model: ir.Model, inputs: Mapping[str, Shape]) -> None:
    """Write shapes of inputs into a graph.

    A declared dimension of another value stays only where it is a number, since the new input
    shapes determine the others.
    """
    for value in model.graph.inputs:
        if str(value.name) in inputs:
            value.shape = ir.Shape(inputs[str(value.name)])
    for node in nodes(model):
        for value in node.outputs:
            if value.shape is not None and not value.is_graph_output():
                fixed = [size if isinstance(size, int) else None for size in value.shape]
                value.shape = ir.Shape(fixed)


def _set_inferred(graph: ir.Graph, inferred: onnx.GraphProto) -> None:
    """Write the types and shapes that ONNX inferred into the graph."""
    for value in graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        value.type = ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(tensor.shape.numpy())
    inferred_types = {info.name: info.type for info in (*inferred.value_info, *inferred.output)}
    for node, proto in zip(graph, inferred.node, strict=True):
        for value in node.outputs:
            if value.name in inferred_types:
                _set_type(value, inferred_types[value.name])
        for body, inferred_body in zip(bodies_of(node), _proto_bodies(proto), strict=True):
            for value, info in zip(body.inputs, inferred_body.input, strict=True):
                _set_type(value, info.type)
            _set_inferred(body, inferred_body)


def _set_type(value: ir.Value, inferred: onnx.TypeProto) -> None:
    if has_map(inferred):
        return
    kind, shape = _type_and_shape(inferred.SerializeToString())
    if kind is not None:
        value.type = _copy_type(kind)  # values change theirs in place
    if shape is not None:
        value.shape = shape


def _copy_type(kind: ir.TypeProtocol) -> ir.TypeProtocol:
    if type(kind) is ir.TensorType:  # nearly all are, and there may be very many
        return ir.TensorType(kind.dtype, denotation=kind.denotation)
    return deepcopy(kind)


@lru_cache(maxsize=1024)
def _type_and_shape(proto: bytes) -> tuple[ir.TypeProtocol | None, ir.Shape | None]:
    parsed = onnx.TypeProto.FromString(proto)
    shape = ir.serde.deserialize_type_proto_for_shape(parsed)
    frozen = None if shape is None else ir.Shape(list(shape), frozen=True)
    return ir.serde.deserialize_type_proto_for_type(parsed), frozen


def _proto_bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The subgraphs of an operator, in the order of their names."""
    bodies: list[onnx.GraphProto] = []
    for attribute in sorted(node.attribute, key=lambda attribute: attribute.name):
        if attribute.HasField("g"):
            bodies.append(attribute.g)
        else:
            bodies.extend(attribute.graphs)
    return bodies


def _set_observed_shapes(model: ir.Model, observed: Mapping[str, Shape]) -> None:
    for node in nodes(model):
        for value in node.outputs:
            if str(value.name) in observed:
                value.shape = ir.Shape(observed[str(value.name)])


def _load_small_tensors(model: ir.Model) -> None:
    for graph in graphs(model):
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes <= LARGE:
                value.const_value = ir.Tensor(np.array(tensor.numpy()), tensor.dtype, name=name)
                release(tensor)


def _function_key(node: ir.Node) -> FunctionKey:
    return node.domain, node.op_type, node.overload


def _function_sizes(proto: onnx.ModelProto) -> dict[FunctionKey, int]:
    """Operators that a call of each function becomes, without those in subgraphs."""
    functions = {
        (function.domain, function.name, function.overload): function
        for function in proto.functions
    }
    sizes: dict[FunctionKey, int] = {}

    def size(key: FunctionKey) -> int:
        if key not in sizes:
            calls = ((node.domain, node.op_type, node.overload) for node in functions[key].node)
            sizes[key] = sum(size(call) if call in functions else 1 for call in calls)
        return sizes[key]

    for key in functions:
        size(key)
    return sizes


def _pair_nodes(
    copy: ir.Graph, original: ir.Graph, bodies: Mapping[FunctionKey, int]
) -> Iterator[tuple[ir.Node, ir.Node]]:
    """Pair each operator of an expanded graph with its original.

    An inlined body stands where the call was, without a tag; a stand-in has its original's tag.
    """
    remaining = deque(copy)
    for node in original:
        tag = remaining[0].metadata_props.get(ORIGIN) if remaining else None
        if tag is None:
            count = min(bodies.get(_function_key(node), 0), len(remaining))
        else:
            tags = (part.metadata_props.get(ORIGIN) for part in remaining)
            count = len(list(takewhile(partial(eq, tag), tags)))
        for _ in range(count):
            part = remaining.popleft()
            yield part, node
            yield from _pair_body_nodes(part, node, bodies)


def _pair_body_nodes(
    part: ir.Node, node: ir.Node, bodies: Mapping[FunctionKey, int]
) -> Iterator[tuple[ir.Node, ir.Node]]:
    if ORIGIN in part.metadata_props:
        for copy, original in zip(bodies_of(part), bodies_of(node), strict=False):
            yield from _pair_nodes(copy, original, bodies)
        return
    for copy in bodies_of(part):
        yield from ((body_node, node) for body_node in operators(copy))


def bodies_of(node: ir.Node) -> list[ir.Graph]:
    """The subgraphs of an operator, in the order of their names."""
    if not node.attributes.data:
        return []
    bodies: list[ir.Graph] = []
    for _, attribute in sorted(node.attributes.items()):
        if attribute.type == ir.AttributeType.GRAPH:
            bodies.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            bodies.extend(attribute.as_graphs())
    return bodies
