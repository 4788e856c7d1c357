"""Operators on numbers of types for which not every operator has a kernel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import onnx
import onnx_ir as ir

from packlight.model import initializers, nodes
from packlight.model.shapes import without_large_weights

RARE = {ir.DataType.BFLOAT16: "bfloat16", ir.DataType.DOUBLE: "float64"}
"""Types that runtimes compute in by a part of their operators, as devices name them."""

SECOND = ("Where",)
"""Operators whose first input is of another type than what they compute."""


def rare_types(graph: ir.Model) -> Mapping[str, str]:
    """The type that an operator of the main graph computes in, by its name, where that is rare."""
    return dict(typed(graph)) if is_anywhere(graph) else {}


def is_anywhere(graph: ir.Model) -> bool:
    """Whether a rare type is read, stored, or made by a Cast."""
    given = (value.dtype for value in graph.graph.inputs)
    kept = (value.const_value.dtype for value in initializers(graph) if value.const_value)
    casts = (node.attributes.get_int("to", 0) for node in nodes(graph) if node.op_type == "Cast")
    made = (ir.DataType(to) for to in casts)
    return any(dtype in RARE for dtype in itertools.chain(given, kept, made))


def typed(graph: ir.Model) -> Iterator[tuple[str, str]]:
    """Operators that compute in a rare type, with its name."""
    whole = onnx.shape_inference.infer_shapes(without_large_weights(graph)).graph
    values = (*whole.value_info, *whole.input, *whole.output)
    types = {info.name: info.type.tensor_type.elem_type for info in values}
    types |= {tensor.name: tensor.data_type for tensor in whole.initializer}
    for node in whole.node:
        read = node.input[node.op_type in SECOND :][:1]
        dtype = ir.DataType(types.get(read[0], 0)) if read else ir.DataType.UNDEFINED
        if dtype in RARE:
            yield node.name, RARE[dtype]
