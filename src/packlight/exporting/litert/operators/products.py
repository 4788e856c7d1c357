"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from packlight.exporting.einsum import product_plan
from packlight.exporting.litert.flatbuffer import Tensor
from packlight.exporting.litert.layouts import Layout
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.values import Operator, UnsupportedError, Value, value_of

MATRIX = 2


def fully_connected(
    lowering: Lowering, x: Tensor, weight: Tensor, bias: Tensor | None, activation: int = 0
) -> Tensor:
    """x (..., inputs) times the transpose of weight (outputs, inputs), plus bias (outputs)."""
    return lowering.emit(
        "FULLY_CONNECTED", [x, weight, bias], (*x.shape[:-1], weight.shape[0]), "float32",
        keepNumDims=len(x.shape) != MATRIX, fusedActivationFunction=activation,
    )  # fmt: skip


def _multiply(lowering: Lowering, op: Operator) -> Result:
    left = op.input(0)
    right = op.input(1)
    if left.dtype != "float32":
        raise UnsupportedError(f"type {left.dtype}")
    if right.is_stored and right.rank == MATRIX and left.rank >= 1:
        return _multiply_weight(lowering, op)
    if left.rank == 1 or right.rank == 1:
        return _multiply_vector(lowering, left, right)
    return value_of("", batched_product(lowering, left, right))


def _multiply_weight(lowering: Lowering, op: Operator) -> Result:
    left = op.input(0)
    right = op.input(1)
    x = lowering.form(left)
    if left.rank == 1:
        x = lowering.reshape(x, (1, *x.shape))
    weight = lowering.form(right, (1, 0))
    bias, output = _following_bias(lowering, op, right.shape[1])
    activation, output = lowering.absorb_activation(output)
    result = fully_connected(lowering, x, weight, bias, activation)
    if left.rank == 1:
        result = lowering.reshape(result, result.shape[1:])
    value = value_of("", result)
    lowering.bind(output, value)
    return value


def _following_bias(
    lowering: Lowering, op: Operator, outputs: int
) -> tuple[Tensor | None, ir.Value]:
    """Take an Add of a stored vector that follows into the product."""
    output = op.node.outputs[0]
    reader = lowering.only_reader(output)
    if reader is None or reader.op_type != "Add" or reader.domain:
        return None, output
    addend = next((source for source in reader.inputs if source is not output), None)
    value = lowering.value(addend)
    if value is None or not value.is_stored or value.shape != (outputs,):
        return None, output
    lowering.absorbed.add(reader)
    return lowering.form(value), reader.outputs[0]


def _multiply_vector(lowering: Lowering, left: Value, right: Value) -> Result:
    first = left
    second = right
    if left.rank == 1:
        first = _reshaped(lowering, left, (1, *left.shape))
    if right.rank == 1:
        second = _reshaped(lowering, right, (*right.shape, 1))
    result = batched_product(lowering, first, second)
    shape = list(result.shape)
    if left.rank == 1:
        del shape[-2]
    if right.rank == 1:
        del shape[-1]
    return value_of("", lowering.reshape(result, shape))


def _reshaped(lowering: Lowering, value: Value, shape: tuple[int, ...]) -> Value:
    return value_of(value.name, lowering.reshape(lowering.form(value), shape))


def batched_product(lowering: Lowering, left: Value, right: Value) -> Tensor:
    """Products of matrices in the last two axes, repeated over the axes before."""
    swapped = (*range(right.rank - 2), right.rank - 1, right.rank - 2)
    layouts = lowering.layouts(right)
    transposed = swapped in layouts
    second = lowering.form(right, swapped if transposed else None)
    first = lowering.form(left)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    return lowering.emit("BATCH_MATMUL", [first, second], shape, "float32", adjY=transposed)


def matrix_layout(*, transposed: bool) -> Layout:
    """The order in which the two axes of a matrix are stored."""
    if transposed:
        return (1, 0)
    return (0, 1)


def _general_product(lowering: Lowering, op: Operator) -> Result:
    left = op.input(0)
    right = op.input(1)
    addend = op.optional(2)
    alpha = op.number("alpha", 1.0)
    beta = op.number("beta", 1.0)
    x = lowering.form(left, matrix_layout(transposed=bool(op.integer("transA"))))
    weight = lowering.form(right, matrix_layout(transposed=not op.integer("transB")))
    outputs = weight.shape[0]
    if alpha != 1:
        x = lowering.binary("MUL", x, alpha)
    bias = None
    if addend is not None and beta == 1 and addend.is_stored:
        bias = _vector_bias(lowering, addend, outputs)
    if bias is not None or addend is None or beta == 0:
        activation, output = lowering.absorb_activation(op.node.outputs[0])
        value = value_of("", fully_connected(lowering, x, weight, bias, activation))
        lowering.bind(output, value)
        return value
    result = fully_connected(lowering, x, weight, None)
    term = lowering.form(lowering.broadcast(addend, MATRIX))
    if beta != 1:
        term = lowering.binary("MUL", term, beta)
    return value_of("", lowering.binary("ADD", result, term))


def _vector_bias(lowering: Lowering, addend: Value, outputs: int) -> Tensor | None:
    """A stored addend as one number for each output, where it is that."""
    if addend.size != outputs or (addend.rank > 0 and addend.shape[-1] != outputs):
        if addend.size == 1:
            number = float(addend.numbers().reshape(-1)[0])
            return lowering.constant(np.full(outputs, number))
        return None
    if addend.rank == 1:
        return lowering.form(addend)
    return lowering.constant(addend.numbers().reshape(outputs))


def _einsum(lowering: Lowering, op: Operator) -> Result:
    inputs = [op.input(index) for index in range(len(op.inputs))]
    plan = product_plan(op.text("equation", ""), [value.shape for value in inputs])
    batch, rows, inner, columns = map(math.prod, (plan.batch, plan.rows, plan.inner, plan.columns))
    left = lowering.reshape(lowering.form(inputs[0], plan.first), (batch, rows, inner))
    right = lowering.reshape(lowering.form(inputs[1], plan.second), (batch, inner, columns))
    product = batched_product(lowering, value_of("", left), value_of("", right))
    tensor = lowering.reshape(product, (*plan.batch, *plan.rows, *plan.columns))
    return value_of("", tensor, plan.order)


PRODUCTS: Mapping[str, Function] = {
    "Einsum": _einsum,
    "Gemm": _general_product,
    "MatMul": _multiply,
}
