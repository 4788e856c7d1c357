"""Shapes and types of values, inferred on the side so that they do not grow the file.

ONNX Runtime believes the operators where they and the stated shapes differ, for example where
somebody opened a dimension of an input and left the shapes of results as they were. So conclusions
may rest only on confirmed shapes: those that follow from the inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import onnx
import onnx_ir as ir

from packlight.model.check import subgraphs
from packlight.model.map_types import from_proto
from packlight.model.model import Model, content_bytes, graphs

Shape = tuple[int | None, ...]
LARGE = 4096
"""Bytes above which a stored value is left out of shape inference: no shape depends on it."""


def infer_shapes(model: Model, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Infer the shapes of all values, in subgraphs too.

    Args:
        model: the model.
        inputs: shapes to assume for inputs with open dimensions; the rest stay as declared.

    Returns:
        Shape by name; None for an unknown dimension.
    """
    clone = model.clone()
    for value in clone.graph.inputs:
        name = str(value.name)
        if name in inputs:
            value.shape = ir.Shape(inputs[name])
    weights_as_inputs(clone)
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(clone), data_prop=True)
    shapes: dict[str, Shape] = {}
    for graph in graphs(from_proto(proto)):
        for value in (*graph.inputs, *graph.initializers.values()):
            _record_shape(shapes, value)
        for node in graph:
            for value in node.outputs:
                _record_shape(shapes, value)
    for graph in graphs(model.graph):
        for name, value in graph.initializers.items():
            assert value.const_value is not None
            shapes[name] = tuple(value.const_value.shape.numpy())
    return shapes


def _record_shape(shapes: dict[str, Shape], value: ir.Value) -> None:
    if value.name and value.shape is not None:
        shapes[value.name] = tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def weights_as_inputs(model: ir.Model) -> None:
    """Turn large stored values into inputs of the same shape, in place."""
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        assert tensor is not None
        if content_bytes(tensor) > LARGE:
            value.type = ir.TensorType(tensor.dtype)
            value.shape = ir.Shape(tensor.shape.numpy())
            value.const_value = None
            del model.graph.initializers[name]
            if value not in model.graph.inputs:
                model.graph.inputs.append(value)


def without_large_weights(model: ir.Model) -> onnx.ModelProto:
    """A view of a model with large weights as inputs and no intermediate shapes.

    Nothing is cloned: that takes longest where graphs are large.
    """
    graph = model.graph
    input_names = {str(value.name) for value in graph.inputs}
    stored = ((name, value.const_value) for name, value in graph.initializers.items())
    large = {name: tensor for name, tensor in stored
             if tensor is not None and content_bytes(tensor) > LARGE}  # fmt: skip
    weights = [
        ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()))
        for name, tensor in large.items()
        if name not in input_names
    ]
    view = ir.GraphView(
        [*graph.inputs, *weights], graph.outputs, nodes=graph, name=graph.name,
        initializers=[value for name, value in graph.initializers.items() if name not in large],
        opset_imports=graph.opset_imports,
    )  # fmt: skip
    proto = ir.to_proto(
        ir.Model(
            cast("ir.Graph", view),
            ir_version=model.ir_version,
            functions=[*model.functions.values()],
        )
    )
    for scope in (proto.graph, *subgraphs(proto.graph.node)):
        del scope.value_info[:]
    return proto


@contextmanager
def confirmed_shapes_only(model: ir.Model) -> Iterator[None]:
    """Hide, in a ``with`` block, all dimensions that do not follow from the inputs.

    At its end the outputs of the model, and values whose shape the block did not set, have their
    stated shapes again.
    """
    output_shapes = [value.shape for value in model.graph.outputs]
    hidden = [(value, value.shape, shape) for value, shape in _unconfirmed(model)]
    for value, _, shape in hidden:
        value.shape = shape
    try:
        yield
    finally:
        for value, stated, shape in hidden:
            if value.shape == shape:
                value.shape = stated
        for value, stated in zip(model.graph.outputs, output_shapes, strict=True):
            if stated is not None:
                value.shape = stated


def _unconfirmed(model: ir.Model) -> Iterator[tuple[ir.Value, ir.Shape | None]]:
    """Values that state more than inference confirms, with their confirmed shapes."""
    checked = _inferred_from_inputs(model)
    for graph, inferred_graph in zip(graphs(model), graphs(checked), strict=True):
        stated_values = _results_of(model, graph)
        inferred_values = _results_of(checked, inferred_graph)
        for value, inferred in zip(stated_values, inferred_values, strict=True):
            shape = _confirmed(value.shape, inferred.shape)
            if shape != value.shape:
                yield value, shape


def _results_of(model: ir.Model, graph: ir.Graph) -> list[ir.Value]:
    outputs = [value for node in graph for value in node.outputs]
    if graph is model.graph:
        return outputs
    return [*graph.inputs, *outputs]


def _inferred_from_inputs(model: ir.Model) -> ir.Model:
    """The model without large weights, with the shapes that follow from its inputs alone."""
    proto = without_large_weights(model)
    _clear_shapes(proto.graph.output)
    for body in subgraphs(proto.graph.node):
        _clear_shapes([*body.input, *body.output])
    try:
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return from_proto(proto)  # nothing follows from operators that contradict each other
    return from_proto(proto)


def _clear_shapes(infos: Iterable[onnx.ValueInfoProto]) -> None:
    for info in infos:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")


def _confirmed(stated: ir.Shape | None, inferred: ir.Shape | None) -> ir.Shape | None:
    if stated is None or inferred is None or len(stated) != len(inferred):
        return None
    pairs = zip(stated, inferred, strict=True)
    return ir.Shape([dim if dim == inferred_dim else None for dim, inferred_dim in pairs])
