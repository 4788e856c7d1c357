"""Grids of QuantizeLinear and DequantizeLinear in a graph, and what their ends cut off."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import onnx_ir as ir

from packlight.backends.capabilities import BITS, Capabilities, Grid
from packlight.model import stored_tensor

QUANTIZE = "QuantizeLinear"
RESTORE = "DequantizeLinear"

SCALE = 1
ZERO_POINT = 2
"""Inputs of both operators."""

BITS_OF_CODES = {
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
    zero_point = _input(node, ZERO_POINT)
    codes = node.outputs[0] if node.op_type == QUANTIZE else node.inputs[0]
    tensor = _stored_input(node, ZERO_POINT)
    dtype = tensor.dtype if tensor is not None else getattr(codes, "dtype", None)
    bits = BITS_OF_CODES.get(dtype, 0) if dtype is not None else BITS
    if not bits or "block_size" in node.attributes:
        return None
    return Grid(_key(node.inputs[SCALE]), (dtype, _key(zero_point)), bits)


def _key(value: ir.Value | None) -> Hashable:
    tensor = None if value is None else stored_tensor(value)
    if tensor is None:
        return value
    numbers = tensor.numpy()
    return None if not numbers.any() else (str(numbers.dtype), numbers.shape, numbers.tobytes())


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _stored_input(node: ir.Node, index: int) -> ir.TensorProtocol | None:
    value = _input(node, index)
    return None if value is None else stored_tensor(value)


def clips_by_grid(runtime: Capabilities, node: ir.Node, quantizer: ir.Node) -> bool:
    """Check that a clipping operator disappears in the QuantizeLinear behind it."""
    bounds = (0.0, math.inf)
    if node.op_type == "Clip":
        bounds = (_bound(node, 1, "min", -math.inf), _bound(node, 2, "max", math.inf))
    return runtime.clips_by_grid(str(node.op_type), bounds, _covered_range(quantizer))


def _bound(node: ir.Node, index: int, name: str, default: float) -> float:
    if _input(node, index) is None:
        return node.attributes.get_float(name, default)
    tensor = _stored_input(node, index)
    return math.nan if tensor is None else float(tensor.numpy())


def _covered_range(quantizer: ir.Node) -> tuple[float, float]:
    """Lowest and highest number of a QuantizeLinear's grid; infinite where it is not stored."""
    scale = _stored_input(quantizer, SCALE)
    zero_point = _stored_input(quantizer, ZERO_POINT)
    if scale is None or scale.size != 1:
        return -math.inf, math.inf
    dtype = np.dtype(np.uint8) if zero_point is None else zero_point.dtype.numpy()
    zero = 0 if zero_point is None else int(zero_point.numpy().item())
    step = float(scale.numpy().item())
    limits = np.iinfo(dtype)
    return (limits.min - zero) * step, (limits.max - zero) * step
