"""Arithmetic of a float16 program that float16 is too coarse or too narrow for, in float32.

Means and deviations that samples are normalized with lose digits in float16; squares of small
numbers vanish there, and those of large ones overflow. What follows from such values by the same
few operators stays in float32 too; every other operator reads them in float16.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from packlight.exporting.coreml.lowering import Lowering, Operator, Value

ARITHMETIC: Mapping[str, str] = {"Add": "add", "Div": "real_div", "Mul": "mul", "Sub": "sub"}
REDUCTIONS: Mapping[str, str] = {"ReduceMean": "reduce_mean", "ReduceSum": "reduce_sum"}
SQUARE = 2.0


def widened(lowering: Lowering, op: Operator) -> Value | None:
    """The result of an operator in float32; None where it is computed as the program is."""
    output = op.node.outputs[0]
    if lowering.precision != "float16" or output.dtype != ir.DataType.FLOAT or not op.inputs:
        return None
    if _is_square(op):
        source = lowering.wide(op.input(0))
        var = lowering.op("mul", x=source, y=source)
    elif op.op_type in ARITHMETIC:
        numbers = [_wide_numbers(value) for value in op.inputs]
        if any(part is None for part in numbers) or all(
            value is not None and value.wide is None for value in op.inputs
        ):
            return None
        var = lowering.op(ARITHMETIC[op.op_type], x=numbers[0], y=numbers[1])
    elif op.input(0).wide is None:
        return None
    elif op.op_type == "Sqrt":
        var = lowering.op("sqrt", x=op.input(0).wide)
    elif op.op_type in REDUCTIONS:
        axes = op.axes(op.input(0).rank, 1) or list(range(op.input(0).rank))
        keep = bool(op.integer("keepdims", 1))
        kind = REDUCTIONS[op.op_type]
        var = lowering.op(kind, x=op.input(0).wide, axes=axes, keep_dims=keep)
    else:
        return None
    return Value(str(output.name), tuple(var.shape), wide=var)


def _is_square(op: Operator) -> bool:
    if op.op_type == "Mul":
        return op.inputs[0] is op.inputs[1] and not op.input(0).is_stored
    exponent = op.optional(1)
    if op.op_type != "Pow" or exponent is None or exponent.array is None:
        return False
    return exponent.array.size == 1 and float(exponent.array.reshape(-1)[0]) == SQUARE


def _wide_numbers(value: Value | None) -> object:
    """A value in float32 without a cast; None where it has to be cast."""
    if value is None:
        return None
    if value.array is not None and value.array.dtype == np.float32:
        return value.array
    return value.wide
