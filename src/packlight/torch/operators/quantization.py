"""Integers with scales: quantize, dequantize, and products of integers.

Rounding is to the nearest even integer, as in ONNX; sums of 8-bit products are exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
import torch

from packlight.torch.operators.convolutions import convolve_integers
from packlight.torch.values import (
    BITS,
    DTYPES,
    STORED_KIND,
    Function,
    Operator,
    Tensor,
    along_axis,
    is_float,
)

RANGES: Mapping[ir.DataType, tuple[int, int]] = {
    ir.DataType.INT2: (-2, 1),
    ir.DataType.UINT2: (0, 3),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-(1 << 15), (1 << 15) - 1),
    ir.DataType.UINT16: (0, (1 << 16) - 1),
    ir.DataType.INT32: (-(1 << 31), (1 << 31) - 1),
}
"""Least and largest code of a type."""

KINDS = {dtype: kind for kind, dtype in DTYPES.items() if kind not in BITS}
"""Types of ONNX by those of PyTorch."""


def _aligned(op: Operator, parameter: Tensor, x: Tensor) -> Tensor:
    """Scales or zero points in the shape of ``x``: of all, of channels or of blocks."""
    if parameter.numel() == 1 and parameter.ndim <= 1:
        return parameter.reshape(())
    axis = op.integer("axis", 1) % x.ndim
    if parameter.ndim == 1 and x.ndim >= 1 and not op.integer("block_size"):
        return along_axis(parameter, axis, x.ndim)
    block = op.integer("block_size")
    if block:
        parameter = parameter.repeat_interleave(block, dim=axis)
    return parameter.narrow(axis, 0, x.shape[axis])


def _dequantize(op: Operator, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Restore; products of 16-bit scales are made in float32 and rounded once."""
    wide = torch.promote_types(scale.dtype, torch.float32)
    codes = x.to(torch.float64 if x.dtype == torch.int32 else wide)
    if zero is not None:
        codes = codes - _aligned(op, zero.to(codes.dtype), x)
    restored = codes.to(wide) * _aligned(op, scale.to(wide), x)
    kind = op.integer("output_dtype")
    if kind:
        return restored.to(DTYPES[ir.DataType(kind)])
    return restored.to(scale.dtype)


def _quantize(op: Operator, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    kind = _code_kind(op, zero)
    if zero is not None:
        zero = _aligned(op, zero, x)
    return _codes(x / _aligned(op, scale.to(x.dtype), x), zero, kind)


def _quantize_dequantize(op: Operator, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Round to a grid; gradients pass as if values within its range were not rounded.

    Scales are of shape () or of channels, and get no gradients.
    """
    step = _aligned(op, scale.detach().to(x.dtype), x)
    offset = _aligned(op, zero.to(x.dtype), x)
    low = op.integer("low") - offset
    high = op.integer("high") - offset
    inside = torch.minimum(torch.maximum(x / step, low), high)
    return (inside + (inside.round() - inside).detach()) * step


def _code_kind(op: Operator, zero: Tensor | None) -> ir.DataType:
    if STORED_KIND in op.attributes:
        return ir.DataType(op.integer(STORED_KIND))
    if op.integer("output_dtype"):
        return ir.DataType(op.integer("output_dtype"))
    if zero is None:
        return ir.DataType.UINT8
    return KINDS[zero.dtype]


def _codes(ratio: Tensor, zero: Tensor | None, kind: ir.DataType) -> Tensor:
    """Round to codes of a type, and saturate."""
    rounded = torch.round(ratio.to(torch.promote_types(ratio.dtype, torch.float32)))
    if zero is not None:
        rounded = rounded + zero.to(rounded.dtype)
    low, high = RANGES[kind]
    return torch.clamp(rounded, low, high).to(DTYPES[kind])


def _dynamic_quantize(_op: Operator, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantize to 8 bits with the range of the input, 0 included."""
    low = torch.clamp(x.min(), max=0)
    high = torch.clamp(x.max(), min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.clamp(torch.round(-low / scale), 0, 255).to(torch.uint8)
    return _codes(x / scale, zero, ir.DataType.UINT8), scale, zero


def _shifted(x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """Codes minus their zero point, in float64, which holds sums of their products exactly."""
    codes = x.to(torch.float64)
    if zero is None:
        return codes
    offset = zero.to(torch.float64)
    if offset.ndim == 1 and offset.numel() > 1:
        offset = along_axis(offset, axis, x.ndim)
    elif offset.ndim == 1:
        offset = offset.reshape(())
    return codes - offset


def _matmul_integers(
    _op: Operator, x: Tensor, y: Tensor, x_zero: Tensor | None = None, y_zero: Tensor | None = None
) -> Tensor:
    row = max(x.ndim - 2, 0)
    product = torch.matmul(_shifted(x, x_zero, row), _shifted(y, y_zero, -1))
    return product.to(torch.int64).to(torch.int32)


def _convolve_integers(
    op: Operator, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    result = convolve_integers(op, _shifted(x, x_zero, 1), _shifted(w, w_zero, 0))
    return result.to(torch.int64).to(torch.int32)


def _quantized_matmul(
    _op: Operator,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    scale: Tensor,
    zero: Tensor,
) -> Tensor:
    product = torch.matmul(_shifted(x, x_zero, -2), _shifted(y, y_zero, -1))
    factor = x_scale.to(torch.float64) * y_scale.to(torch.float64) / scale.to(torch.float64)
    return _codes(product * factor, zero, KINDS[zero.dtype])


def _quantized_convolution(
    op: Operator,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    scale: Tensor,
    zero: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    sums = convolve_integers(op, _shifted(x, x_zero, 1), _shifted(w, w_zero, 0))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if bias is not None:
        sums = sums + bias.to(torch.float64).reshape(shape)
    factor = x_scale.to(torch.float64) * w_scale.to(torch.float64) / scale.to(torch.float64)
    return _codes(sums * factor.reshape(shape), zero, KINDS[zero.dtype])


def _matmul_blocks(
    op: Operator, x: Tensor, packed: Tensor, scales: Tensor, zeros: Tensor | None = None
) -> Tensor:
    """Multiply with a weight of 4-bit codes in blocks, the first code in the low bits of a byte."""
    rows = op.integer("N")
    columns = op.integer("K")
    bits = op.integer("bits", 4)
    per_byte = 8 // bits
    shifts = torch.arange(per_byte, device=x.device) * bits
    mask = (1 << bits) - 1
    codes = (packed.to(torch.int64).unsqueeze(-1) >> shifts) & mask
    codes = codes.reshape(rows, -1, op.integer("block_size"))
    blocks = codes.shape[1]
    offset: Tensor | int = 1 << (bits - 1)
    if zeros is not None and is_float(zeros):
        offset = zeros.reshape(rows, blocks, 1)
    elif zeros is not None:
        unpacked = (zeros.reshape(rows, -1).to(torch.int64).unsqueeze(-1) >> shifts) & mask
        offset = unpacked.reshape(rows, -1)[:, :blocks].unsqueeze(-1)
    weight = (codes - offset).to(x.dtype) * scales.reshape(rows, blocks, 1)
    return torch.matmul(x, weight.reshape(rows, -1)[:, :columns].t())


QUANTIZATION: Mapping[str, Function] = {
    "ConvInteger": _convolve_integers,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _matmul_integers,
    "QLinearConv": _quantized_convolution,
    "QLinearMatMul": _quantized_matmul,
    "QuantizeLinear": _quantize,
}

TRAINING_DOMAIN = "packlight.training"
"""Domain of operators that stand for several of ONNX while a model is trained."""

TRAINING: Mapping[str, Function] = {"QuantizeDequantize": _quantize_dequantize}

MICROSOFT_QUANTIZATION: Mapping[str, Function] = {
    "DequantizeLinear": _dequantize,
    "MatMulNBits": _matmul_blocks,
    "QuantizeLinear": _quantize,
}
