"""What QuantizeLinear and DequantizeLinear enclose, computed in integers where a kernel can.

A DequantizeLinear writes nothing: its value keeps the codes it came from, and becomes floats where
an operator asks for floats. An operator between codes and a QuantizeLinear is written in integers
with the grid of that QuantizeLinear as its output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from packlight.exporting.litert.flatbuffer import Quantization, Tensor
from packlight.exporting.litert.layouts import Layout, channels_last, natural
from packlight.exporting.litert.lowering import (
    CLIPPED,
    RELU,
    Function,
    Lowering,
    Result,
    from_spatial,
    spatial_form,
)
from packlight.exporting.litert.operators.convolutions import (
    FILTER_RANKS,
    convolution,
    filter_layout,
    with_second_axis,
)
from packlight.exporting.litert.operators.elementwise import aligned
from packlight.exporting.litert.operators.indexing import INDEXING
from packlight.exporting.litert.operators.movement import MOVEMENT
from packlight.exporting.litert.operators.pooling import POOLING, pooled
from packlight.exporting.litert.operators.products import matrix_layout
from packlight.exporting.litert.stored import store_codes
from packlight.exporting.litert.values import Operator, UnsupportedError, Value, value_of
from packlight.exporting.weights import MIDDLE_CODES, GridWeight
from packlight.exporting.windows import as_two_axes, window_of

BYTE = 8
CODE_RANGE = (-128, 127)
MATRIX = 2
SAME_GRID_OPSET = 13

MOVERS: Mapping[str, Function] = {
    **{
        name: MOVEMENT[name]
        for name in (
            "DepthToSpace", "Flatten", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze",
            "Tile", "Transpose", "Unsqueeze",
        )
    },
    "Gather": INDEXING["Gather"],
    "MaxPool": POOLING["MaxPool"],
}  # fmt: skip
"""Operators that give numbers that they were given, and so move codes as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where the result of an operator is rounded.

    Attributes:
        grid: of the QuantizeLinear.
        activation: that the kernel applies before.
        output: of the QuantizeLinear.
        absorbed: operators that are written with this one.
    """

    grid: Quantization
    activation: int
    output: ir.Value
    absorbed: tuple[ir.Node, ...]


def lower_integers(lowering: Lowering, op: Operator) -> Result | None:
    """Write an operator in integers; None where it must be computed in floats."""
    mover = MOVERS.get(op.op_type)
    if mover is not None and op.inputs and op.inputs[0] is not None and op.inputs[0].codes:
        return _moved(lowering, op, mover)
    function = INTEGER.get(op.op_type)
    if function is None:
        return None
    target = following_grid(lowering, op.node.outputs[0])
    if target is None:
        return None
    codes = function(lowering, op, target)
    if codes is None:
        return None
    lowering.absorbed.update(target.absorbed)
    lowering.bind(target.output, codes)
    return replace(codes, dtype="float32", codes=codes, forms={})


def _moved(lowering: Lowering, op: Operator, mover: Function) -> Result:
    first = op.input(0)
    assert first.codes is not None
    result = mover(lowering, replace(op, inputs=(first.codes, *op.inputs[1:])))
    if isinstance(result, Value):
        return _restored(result)
    return tuple(_restored(value) for value in result)


def _restored(codes: Value) -> Value:
    """The real values that codes stand for."""
    return Value(codes.name, codes.shape, "float32", codes=codes)


def following_grid(lowering: Lowering, output: ir.Value) -> Target | None:
    """The QuantizeLinear that alone reads an output, after a Relu or Clip perhaps."""
    reader = lowering.only_reader(output)
    absorbed: list[ir.Node] = []
    activation = 0
    if reader is not None and reader.op_type in ("Relu", "Clip") and not reader.domain:
        bounds = (0.0, np.inf) if reader.op_type == "Relu" else lowering.clip_bounds(reader)
        absorbed.append(reader)
        reader = lowering.only_reader(reader.outputs[0])
        activation = -1
    if reader is None or reader.op_type != "QuantizeLinear" or reader.domain:
        return None
    grid = grid_of(lowering, reader)
    if grid is None:
        return None
    if activation:
        fused = _kernel_activation(grid, bounds)
        if fused is None:
            return None
        activation = fused
    return Target(grid, activation, reader.outputs[0], (*absorbed, reader))


def _kernel_activation(grid: Quantization, bounds: tuple[float, float]) -> int | None:
    """The activation that a kernel applies for a clip; 0 where the grid clips as much itself."""
    low, high = ((code - grid.zero[0]) * grid.scale[0] for code in CODE_RANGE)
    if bounds[0] <= low and bounds[1] >= high:
        return 0
    if bounds == (0.0, np.inf):
        return RELU
    if bounds[0] == 0 and bounds[1] >= high:
        return RELU
    return CLIPPED.get(bounds)


def grid_of(lowering: Lowering, node: ir.Node) -> Quantization | None:
    """The grid of a QuantizeLinear of 8 bits in LiteRT's signed codes; None for all others."""
    scale = lowering.stored_numbers(node, 1)
    zero = lowering.stored_numbers(node, 2)
    if scale is None or scale.size != 1:
        return None
    codes = np.zeros(1, (node.outputs[0].dtype or ir.DataType.UINT8).numpy())
    if zero is not None:
        codes = zero.reshape(-1)
    middle = MIDDLE_CODES.get(codes.dtype.name)
    if middle is None:
        return None
    return Quantization((float(scale.reshape(-1)[0]),), (int(codes[0]) - middle,))


def _quantize(lowering: Lowering, op: Operator) -> Result:
    grid = grid_of(lowering, op.node)
    if grid is None:
        raise UnsupportedError("a grid that is not one of 8 bits for the whole tensor")
    value = op.input(0)
    if value.codes is not None:
        if value.codes.quantization == grid:
            return value.codes
        value = value.codes
    layout = lowering.common_layout([value])
    tensor = lowering.form(value, layout)
    codes = lowering.emit("QUANTIZE", [tensor], tensor.shape, "int8", grid)
    return value_of("", codes, layout)


def _dequantize(lowering: Lowering, op: Operator) -> Result:
    codes = op.input(0)
    if codes.quantization is None:
        raise UnsupportedError("codes that no QuantizeLinear computes")
    return _restored(codes)


def _weight_of(value: Value) -> GridWeight | None:
    """A weight of 8 bits around 0; None for all others."""
    encoding = value.encoding
    if not isinstance(encoding, GridWeight) or encoding.bits != BYTE:
        return None
    if encoding.shape != value.shape:
        return None
    axes = encoding.scale.axes(encoding.shape)
    if len(axes) > 1 or any(encoding.scale.block[axis] > 1 for axis in axes):
        return None
    if not encoding.is_centered:
        return None
    return encoding


def _integer_bias(
    lowering: Lowering, bias: Value | None, inputs: Tensor, weight: Quantization, outputs: int
) -> Tensor:
    """The bias in steps of the sums."""
    assert inputs.quantization is not None
    step = np.array(weight.scale, np.float32) * np.float32(inputs.quantization.scale[0])
    grid = Quantization(tuple(float(number) for number in step), (0,) * len(step))
    numbers = np.zeros(outputs)
    if bias is not None:
        numbers = bias.numbers().astype(np.float64)
    limits = np.iinfo(np.int32)
    codes = np.clip(np.rint(numbers / step), limits.min, limits.max).astype(np.int32)
    stored_codes = _own_codes(bias, step)
    if stored_codes is None or bias is None or bias.weight is None:
        return lowering.builder.store("", codes, grid)
    name = bias.name
    lowering.builder.record(name, bias.weight.form(), stored_codes.nbytes + step.nbytes)
    return lowering.builder.store(name, stored_codes, grid)


def _own_codes(bias: Value | None, step: np.ndarray) -> np.ndarray | None:
    """Codes of a bias that is stored in just these steps."""
    encoding = bias and bias.encoding
    if not isinstance(encoding, GridWeight) or encoding.codes.dtype != np.int32:
        return None
    stored_steps = np.broadcast_to(encoding.scale.values.reshape(-1), encoding.codes.size)
    steps = np.broadcast_to(step, stored_steps.shape)
    if not np.allclose(stored_steps, steps, rtol=1e-5):
        return None
    return encoding.codes.reshape(-1)


def _convolve(lowering: Lowering, op: Operator, target: Target) -> Value | None:
    x = op.input(0)
    weight = op.input(1)
    if x.codes is None or weight.rank not in FILTER_RANKS or _weight_of(weight) is None:
        return None
    window = window_of(op, x.shape[2:], weight.shape[2:])
    kernel = _weight_tensor(lowering, with_second_axis(weight), filter_layout(op))
    tensor = spatial_form(lowering, x.codes)
    assert kernel.quantization is not None
    bias = _integer_bias(lowering, op.optional(2), tensor, kernel.quantization, weight.shape[0])
    result = convolution(
        lowering, op, tensor, kernel, bias, window,
        fusedActivationFunction=target.activation, quantization=target.grid,
    )  # fmt: skip
    return from_spatial(lowering, result, x.rank)


def _weight_tensor(lowering: Lowering, value: Value, layout: Layout) -> Tensor:
    """The codes of a weight in a layout."""
    weight = value.weight
    assert weight is not None
    grid = _weight_of(value)
    assert grid is not None
    return store_codes(lowering.builder, weight, grid, layout)


def _general_product(lowering: Lowering, op: Operator, target: Target) -> Value | None:
    x = op.input(0)
    weight = op.input(1)
    bias = op.optional(2)
    grid = _weight_of(weight)
    plain = op.number("alpha", 1.0) == 1 and op.number("beta", 1.0) == 1
    layout = matrix_layout(transposed=not op.integer("transB"))
    outputs = weight.shape[layout[0]]
    fits = bias is None or (bias.is_stored and bias.shape == (outputs,))
    if x.codes is None or grid is None or not plain or not fits or op.integer("transA"):
        return None
    return _connected(lowering, x.codes, _weight_tensor(lowering, weight, layout), bias, target)


def _connected(
    lowering: Lowering, x: Value, kernel: Tensor, bias: Value | None, target: Target
) -> Value:
    tensor = lowering.form(x)
    assert kernel.quantization is not None
    sums = _integer_bias(lowering, bias, tensor, kernel.quantization, kernel.shape[0])
    result = lowering.emit(
        "FULLY_CONNECTED", [tensor, kernel, sums], (*tensor.shape[:-1], kernel.shape[0]), "int8",
        target.grid, keepNumDims=x.rank != MATRIX, fusedActivationFunction=target.activation,
    )  # fmt: skip
    return value_of("", result)


def _multiply_matrices(lowering: Lowering, op: Operator, target: Target) -> Value | None:
    x = op.input(0)
    weight = op.input(1)
    grid = _weight_of(weight)
    if x.codes is None:
        return None
    if grid is not None and weight.rank == MATRIX and x.rank >= MATRIX:
        kernel = _weight_tensor(lowering, weight, (1, 0))
        return _connected(lowering, x.codes, kernel, None, target)
    if weight.codes is None or target.activation or min(x.rank, weight.rank) < MATRIX:
        return None
    left = lowering.form(x.codes)
    right = lowering.form(weight.codes)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    return value_of("", lowering.emit("BATCH_MATMUL", [left, right], shape, "int8", target.grid))


def _code_inputs(lowering: Lowering, op: Operator) -> list[Value] | None:
    """Codes of all inputs; stored ones too, where they are stored as codes."""
    codes = []
    for value in op.inputs:
        if value is None:
            return None
        if value.codes is not None:
            codes.append(value.codes)
            continue
        grid = _weight_of(value)
        if grid is None or grid.scale.values.size != 1:
            return None
        tensor = _weight_tensor(lowering, value, natural(value.rank))
        codes.append(value_of(value.name, tensor))
    return codes


def _arithmetic(name: str) -> Callable[[Lowering, Operator, Target], Value | None]:
    def lower(lowering: Lowering, op: Operator, target: Target) -> Value | None:
        codes = _code_inputs(lowering, op)
        if codes is None:
            return None
        (left, right), layout = aligned(lowering, codes)
        shape = np.broadcast_shapes(left.shape, right.shape)
        result = lowering.emit(
            name, [left, right], shape, "int8", target.grid,
            fusedActivationFunction=target.activation,
        )  # fmt: skip
        return value_of("", result, layout)

    return lower


def _mean(lowering: Lowering, op: Operator, target: Target) -> Value | None:
    x = op.input(0)
    if x.codes is None or target.activation:
        return None
    layout = channels_last(x.rank)
    tensor = lowering.form(x.codes, layout)
    axes = list(range(1, x.rank - 1))
    shape = (tensor.shape[0], *(1 for _ in axes), tensor.shape[-1])
    places = lowering.constant(axes, "int32")
    result = lowering.emit("MEAN", [tensor, places], shape, "int8", target.grid, keepDims=True)
    return value_of("", result, layout)


def _average_pool(lowering: Lowering, op: Operator, target: Target) -> Value | None:
    x = op.input(0)
    if x.codes is None or target.activation or x.codes.quantization != target.grid:
        return None
    window = as_two_axes(window_of(op, x.shape[2:], op.integers("kernel_shape")))
    tensor = spatial_form(lowering, x.codes)
    counted = window.is_valid or (
        window.is_same(tensor.shape[1:3]) and not op.integer("count_include_pad")
    )
    if not counted or any(step > 1 for step in window.dilations):
        return None
    return from_spatial(lowering, pooled(lowering, "AVERAGE_POOL_2D", tensor, window, 0), x.rank)


def _concatenate(lowering: Lowering, op: Operator, target: Target) -> Value | None:
    codes = _code_inputs(lowering, op)
    if codes is None or target.activation:
        return None
    layout = lowering.common_layout(codes)
    tensors = []
    for value in codes:
        tensor = lowering.form(value, layout)
        if tensor.quantization != target.grid:
            tensor = lowering.emit("QUANTIZE", [tensor], tensor.shape, "int8", target.grid)
        tensors.append(tensor)
    axis = layout.index(op.axis(codes[0].rank, 0))
    return value_of("", lowering.concatenate(tensors, axis), layout)


FIXED_GRIDS: Mapping[str, tuple[str, Quantization]] = {
    "Sigmoid": ("LOGISTIC", Quantization((1 / 256,), (-128,))),
    "Softmax": ("SOFTMAX", Quantization((1 / 256,), (-128,))),
    "Tanh": ("TANH", Quantization((1 / 128,), (0,))),
}
"""Kernels whose output has one grid only."""


def _fixed(lowering: Lowering, op: Operator, target: Target) -> Value | None:
    name, grid = FIXED_GRIDS[op.op_type]
    x = op.input(0)
    if x.codes is None or target.activation or target.grid != grid:
        return None
    layout = lowering.common_layout([x.codes])
    options = {}
    if op.op_type == "Softmax":
        if op.opset < SAME_GRID_OPSET or op.axis(x.rank, -1) != x.rank - 1:
            return None
        layout = natural(x.rank)
        options["beta"] = 1.0
    tensor = lowering.form(x.codes, layout)
    return value_of(
        "", lowering.emit(name, [tensor], tensor.shape, "int8", grid, **options), layout
    )


INTEGER: Mapping[str, Callable[[Lowering, Operator, Target], Value | None]] = {
    "Add": _arithmetic("ADD"),
    "AveragePool": _average_pool,
    "Concat": _concatenate,
    "Conv": _convolve,
    "Gemm": _general_product,
    "GlobalAveragePool": _mean,
    "MatMul": _multiply_matrices,
    "Mul": _arithmetic("MUL"),
    "Sigmoid": _fixed,
    "Softmax": _fixed,
    "Sub": _arithmetic("SUB"),
    "Tanh": _fixed,
}
"""Operators with kernels from codes to codes."""

QUANTIZATION: Mapping[str, Function] = {
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
}
