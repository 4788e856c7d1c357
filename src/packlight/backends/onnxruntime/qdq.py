"""Q/DQ in a graph: its grids, what their ends cut off, and products that read blocked codes.

ONNX Runtime makes one kernel of a blocked DequantizeLinear and the product behind it, of those that
``capabilities`` lists. The rules were read off the graphs that ONNX Runtime 1.31 writes after it
optimizes them; a test does so again.
Source: onnxruntime/core/optimizer/qdq_transformer/selectors_actions (DQMatMulNodeGroupSelector).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from packlight.backends.capabilities import (
    BITS,
    MATRIX,
    Capabilities,
    Grid,
    capabilities,
    effective_attributes,
)
from packlight.model import optional_input, owning_graph, stored_tensor

QUANTIZE = "QuantizeLinear"
RESTORE = "DequantizeLinear"

SCALE = 1
ZERO_POINT = 2
"""Inputs of both operators."""

BITS_OF_CODES: Mapping[ir.DataType | None, int] = {
    None: BITS,  # not stated
    ir.DataType.INT8: BITS,
    ir.DataType.UINT8: BITS,
    ir.DataType.INT32: BITS,  # of biases, which integer kernels add
    ir.DataType.INT16: 2 * BITS,
    ir.DataType.UINT16: 2 * BITS,
}

SECOND_ONWARD = ("Where",)
"""Operators whose first input chooses among the others."""


def data_inputs(runtime: Capabilities, node: ir.Node) -> list[ir.Value]:
    """Inputs of an operator but for indices, shapes and conditions."""
    inputs = list(node.inputs)
    if node.op_type in runtime.code_movers:
        inputs = inputs[:1]
    elif node.op_type in SECOND_ONWARD:
        inputs = inputs[1:]
    return [value for value in inputs if value is not None]


def grid_of(node: ir.Node) -> Grid | None:
    """Grid of a QuantizeLinear or DequantizeLinear; None where no kernel computes on its codes."""
    zero_point = optional_input(node, ZERO_POINT)
    typed: ir.Value | ir.TensorProtocol | None = _stored_input(node, ZERO_POINT)
    if typed is None:
        typed = node.outputs[0] if node.op_type == QUANTIZE else node.inputs[0]
    dtype = getattr(typed, "dtype", None)
    bits = BITS_OF_CODES.get(dtype, 0)
    if not bits or "block_size" in node.attributes:
        return None
    return Grid(_key(node.inputs[SCALE]), (dtype, _key(zero_point)), bits)


def _key(value: ir.Value | None) -> Hashable:
    tensor = stored_tensor(value)
    if tensor is None:
        return value
    numbers = tensor.numpy()
    if not numbers.any():
        return None
    return str(numbers.dtype), numbers.shape, numbers.tobytes()


def _stored_input(node: ir.Node, index: int) -> ir.TensorProtocol | None:
    return stored_tensor(optional_input(node, index))


def clips_by_grid(runtime: Capabilities, node: ir.Node, quantizer: ir.Node) -> bool:
    """Check that a clipping operator disappears in the QuantizeLinear behind it."""
    bounds = (0.0, math.inf)
    if node.op_type == "Clip":
        bounds = (_bound(node, 1, "min", -math.inf), _bound(node, 2, "max", math.inf))
    return runtime.clips_by_grid(str(node.op_type), bounds, _covered_range(quantizer))


def _bound(node: ir.Node, index: int, name: str, default: float) -> float:
    if optional_input(node, index) is None:
        return node.attributes.get_float(name, default)
    tensor = _stored_input(node, index)
    if tensor is None:
        return math.nan
    return float(tensor.numpy())


def _covered_range(quantizer: ir.Node) -> tuple[float, float]:
    """Lowest and highest number of a QuantizeLinear's grid; infinite where it is not stored."""
    scale = _stored_input(quantizer, SCALE)
    zero_point = _stored_input(quantizer, ZERO_POINT)
    if scale is None or scale.size != 1:
        return -math.inf, math.inf
    dtype = np.dtype(np.uint8)
    zero = 0
    if zero_point is not None:
        dtype = zero_point.dtype.numpy()
        zero = int(zero_point.numpy().item())
    step = float(scale.numpy().item())
    limits = np.iinfo(dtype)
    return (limits.min - zero) * step, (limits.max - zero) * step


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
    if codes is None or codes.dtype is None:
        return False
    shape = _shape(codes)
    if shape is None:
        return False
    if dequantize.attributes.get_int("axis", 1) != 0:
        return False
    block = dequantize.attributes.get_int("block_size", 0)
    return _fuses(node, shape, block, codes.dtype.bitwidth)


def _fuses(node: ir.Node, shape: Sequence[object], block: int, bits: int) -> bool:
    bias = optional_input(node, MATRIX)
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
