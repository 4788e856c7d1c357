"""Products that ONNX Runtime computes with blocked codes as they are stored.

It makes one kernel of DequantizeLinear and the product behind it, of those that ``capabilities``
lists. What is fused was read off the graphs that ONNX Runtime 1.31 writes after it optimizes them;
a test does so again.
Source: onnxruntime/core/optimizer/qdq_transformer/selectors_actions (DQMatMulNodeGroupSelector).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from packlight.backends.capabilities import MATRIX, capabilities, effective_attributes
from packlight.model import owning_graph, stored_tensor


def fuses_blocked_weight(node: ir.Node, weight: ir.Value, block: int, bits: int) -> bool:
    """Check that a product would read a weight as codes, were it stored in blocks.

    Args:
        node: the product.
        weight: what it reads, in floats so far.
        block: inputs in a block, which divide all of them.
        bits: of a code.
    """
    shape = _shape(weight)
    reads_second = len(node.inputs) >= MATRIX and node.inputs[1] is weight
    if shape is None or not reads_second or not _is_read_once(weight):
        return False
    return _fuses(node, shape, block, bits)


def fuses_dequantize(node: ir.Node, dequantize: ir.Node) -> bool:
    """Check that a product becomes one kernel with the DequantizeLinear of its second input.

    Args:
        node: the product, the only reader.
        dequantize: restores blocks of stored codes, whose type and shape must be known.
    """
    codes = dequantize.inputs[0]
    shape = None if codes is None else _shape(codes)
    if codes is None or codes.dtype is None or shape is None:
        return False
    if dequantize.attributes.get_int("axis", 1) != 0:
        return False
    block = dequantize.attributes.get_int("block_size", 0)
    return _fuses(node, shape, block, codes.dtype.bitwidth)


def _fuses(node: ir.Node, shape: Sequence[object], block: int, bits: int) -> bool:
    bias = node.inputs[MATRIX] if len(node.inputs) > MATRIX else None
    return capabilities("onnxruntime").fuses_blocked_dequantize(
        str(node.op_type),
        shape,
        block,
        bits,
        attributes=effective_attributes(node),
        bias=None if bias is None else _shape(bias) or (),
    )


def _is_read_once(weight: ir.Value) -> bool:
    """Check that one operator reads the numbers, and none in another graph.

    A Shape does not count: what it gives is constant before anything is fused.
    """
    home = owning_graph(weight)
    readers = [use.node for use in weight.uses()]
    numbers = [node for node in readers if node.op_type != "Shape"]
    return len(numbers) == 1 and all(node.graph is home for node in readers)


def _shape(value: ir.Value) -> tuple[object, ...] | None:
    tensor = stored_tensor(value)
    shape = value.shape if tensor is None else tensor.shape
    return None if shape is None else tuple(shape)
