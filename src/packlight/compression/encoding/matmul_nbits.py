"""Where ONNX Runtime computes with blocked codes as they are stored.

It makes a MatMulNBits of DequantizeLinear and the operator after it. What is fused was read off the
graphs that ONNX Runtime 1.31 writes after it optimises them; a test does so again.
Source: onnxruntime/core/optimizer/qdq_transformer/selectors_actions (DQMatMulNodeGroupSelector).
"""

from __future__ import annotations

import onnx_ir as ir

from packlight.compression.encoding.storage import owning_graph
from packlight.compression.sites.weight_roles import MATRIX, stored
from packlight.compression.sites.weight_sites import Weight

BLOCKS = (16, 32, 64, 128, 256)
"""Inputs in a block of what it fuses."""


def fuses(weight: Weight, block: int) -> bool:
    """Whether it fuses a weight of so many inputs in a block, which divide all, with its operator.

    It is a matrix, blocks run along axis 0, and one operator of the graph that owns it reads it.
    """
    matrix = len(weight.shape) == MATRIX and weight.summed == (0,)
    return block in BLOCKS and matrix and read_once(weight) and multiplies(weight)


def read_once(weight: Weight) -> bool:
    """Whether one operator reads the numbers, and none in another graph.

    Who asks for the shape alone does not count: that is constant before anything is fused.
    """
    home, readers = owning_graph(weight.value), [use.node for use in weight.value.uses()]
    numbers = [node for node in readers if node.op_type != "Shape"]
    return len(numbers) == 1 and all(node.graph is home for node in readers)


def multiplies(weight: Weight) -> bool:
    """Whether an operator that sums over axis 0 computes x W, or x W + b with b for each output."""
    node = weight.roles[0].node
    if node.op_type == "MatMul":
        return True
    given = node.attributes
    if given.get_float("alpha", 1.0) != 1 or given.get_int("transA", 0) != 0:
        return False
    bias = node.inputs[2] if len(node.inputs) > MATRIX else None
    even = given.get_float("beta", 1.0) == 1
    return bias is None or (even and sizes(bias) == (weight.shape[1],))


def sizes(value: ir.Value) -> tuple[object, ...] | None:
    """The shape of a value, where it is known."""
    tensor = stored(value)
    shape = value.shape if tensor is None else tensor.shape
    return None if shape is None else tuple(shape)
