"""Shapes and types of every value, inferred on the side so that they do not grow the file."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir

from packlight.model.model import Model, graphs

Shape = tuple[int | None, ...]
LARGE = 4096
"""Bytes above which a stored value cannot matter to a shape and is left out of the inference."""


def infer_shapes(model: Model, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of all values that can be known, in subgraphs too.

    Args:
        model: the model.
        inputs: shapes to take for inputs whose dimensions are open; others stay as declared.

    Returns:
        Shape by name; None for a dimension that is not known.
    """
    clone = model.clone()
    for value in clone.graph.inputs:
        name = str(value.name)
        if name in inputs:
            value.shape = ir.Shape(inputs[name])
    leave_out_weights(clone)
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(clone), data_prop=True)
    shapes: dict[str, Shape] = {}
    for graph in graphs(ir.from_proto(proto)):
        for value in (*graph.inputs, *graph.initializers.values()):
            note(shapes, value)
        for node in graph:
            for value in node.outputs:
                note(shapes, value)
    for graph in graphs(model.graph):
        for name, value in graph.initializers.items():
            assert value.const_value is not None
            shapes[name] = tuple(value.const_value.shape.numpy())
    return shapes


def note(shapes: dict[str, Shape], value: ir.Value) -> None:
    """Write down a value's shape if it has one."""
    if value.name and value.shape is not None:
        dims = [dim if isinstance(dim, int) else None for dim in value.shape]
        shapes[value.name] = tuple(dims)


def leave_out_weights(model: ir.Model) -> None:
    """Turn large stored values into inputs of the same shape, in place."""
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        assert tensor is not None
        if tensor.nbytes > LARGE:
            value.type = ir.TensorType(tensor.dtype)
            value.shape = ir.Shape(tensor.shape.numpy())
            value.const_value = None
            del model.graph.initializers[name]
            if value not in model.graph.inputs:
                model.graph.inputs.append(value)
