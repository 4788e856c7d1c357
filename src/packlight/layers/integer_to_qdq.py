"""Integer operators written as float operators between QuantizeLinear and DequantizeLinear.

The arithmetic is the same but for the rounding of float32 sums; what is quantized where, and onto
which grid, can then be read from the graph in one way, whichever form a tool wrote.

Source: QLinearConv-10, QLinearMatMul-21, ConvInteger-10, MatMulInteger-10, DynamicQuantizeLinear-11
of ONNX; ContribOperators.md of ONNX Runtime for those of ``com.microsoft``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from packlight.model import Model, nodes, stored_tensor
from packlight.runtime.exact_integers import (
    MICROSOFT,
    cast_to,
    constant_value,
    optional_input,
    replace_node,
    static_shape,
)
from packlight.runtime.nested_graphs import infer_types

Value = ir.Value | None
Rewrite = Callable[[Tape, ir.Node], ir.Value | None]
"""Writes what computes the same; gives its result, or None where the operator stays."""

NIBBLE = 4
PARTS = 3
"""Inputs that state a quantized value: codes, scale, zero point."""


def canonical(model: Model) -> ir.Model:
    """A copy whose integer operators are float operators between pairs, all types filled in."""
    copy = model.clone()
    for node in list(nodes(copy)):
        key = ("" if node.domain == "ai.onnx" else node.domain, node.op_type)
        rewrite = REWRITES.get(key)
        if rewrite is not None and node.graph is not None:
            tape = Tape()
            result = rewrite(tape, node)
            if result is not None:
                replace_node(node, tape.nodes, result)
    for node in list(nodes(copy)):
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            with_scale(node)
    return infer_types(copy)


def real(tape: Tape, codes: Value, scale: Value, zero: Value) -> ir.Value:
    """An activation from its codes."""
    inputs = [codes, scale] if zero is None else [codes, scale, zero]
    return tape.op("DequantizeLinear", inputs)


def real_weight(tape: Tape, codes: Value, scale: Value, zero: Value, axis: int) -> ir.Value:
    """A weight from its codes, with operators that every opset has."""
    wide = cast_to(tape, codes, ir.DataType.FLOAT)
    if zero is not None:
        wide = tape.op(
            "Sub", [wide, along(tape, cast_to(tape, zero, ir.DataType.FLOAT), codes, axis)]
        )
    return tape.op("Mul", [wide, along(tape, scale, codes, axis)])


def along(tape: Tape, value: Value, like: Value, axis: int) -> Value:
    """One number for each entry of an axis, shaped to spread over the others."""
    sizes = None if value is None else static_shape(value)
    whole = None if like is None else static_shape(like)
    if sizes is None or whole is None or len(sizes) != 1 or sizes == (1,):
        return value
    shape = np.ones(len(whole), np.int64)
    shape[axis] = -1
    return tape.op("Reshape", [value, constant_value(tape, shape)])


def rounded(tape: Tape, value: ir.Value, scale: Value, zero: Value) -> ir.Value:
    """A result as codes."""
    return tape.op("QuantizeLinear", [value, scale] if zero is None else [value, scale, zero])


def conv(tape: Tape, node: ir.Node) -> ir.Value:
    """QLinearConv."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    inputs = [real(tape, x, x_scale, x_zero), real_weight(tape, w, w_scale, w_zero, 0)]
    bias = optional_input(node, 8)
    if bias is not None:
        scale = tape.op("Mul", [x_scale, w_scale])
        inputs.append(tape.op("Mul", [cast_to(tape, bias, ir.DataType.FLOAT), scale]))
    return rounded(tape, tape.op("Conv", inputs, node.attributes), y_scale, y_zero)


def matmul(tape: Tape, node: ir.Node) -> ir.Value:
    """QLinearMatMul."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs[:8]
    left, right = real(tape, a, a_scale, a_zero), side(tape, b, b_scale, b_zero)
    return rounded(tape, tape.op("MatMul", [left, right]), y_scale, y_zero)


def side(tape: Tape, codes: Value, scale: Value, zero: Value) -> ir.Value:
    """The right side of a product: a weight with a scale for each column, or an activation."""
    if codes is not None and stored_tensor(codes) is not None:
        return real_weight(tape, codes, scale, zero, -1)
    return real(tape, codes, scale, zero)


def gemm(tape: Tape, node: ir.Node) -> ir.Value:
    """QGemm; without a grid of its own the result is real."""
    a, a_scale, a_zero, b, b_scale, b_zero = node.inputs[:6]
    turned = node.attributes.get_int("transB", 0)
    weight = real_weight(tape, b, b_scale, b_zero, 0 if turned else 1)
    inputs = [real(tape, a, a_scale, a_zero), weight]
    bias = optional_input(node, 6)
    if bias is not None:
        scale = tape.op("Mul", [a_scale, b_scale])
        inputs.append(tape.op("Mul", [cast_to(tape, bias, ir.DataType.FLOAT), scale]))
    total = tape.op("Gemm", inputs, node.attributes)
    scale_out = optional_input(node, 7)
    return total if scale_out is None else rounded(tape, total, scale_out, optional_input(node, 8))


def elementwise(op: str) -> Rewrite:
    """QLinearAdd and QLinearMul."""

    def rewrite(tape: Tape, node: ir.Node) -> ir.Value:
        left, right = (real(tape, *triple(node, place)) for place in (0, PARTS))
        scale, zero = optional_input(node, 6), optional_input(node, 7)
        return rounded(tape, tape.op(op, [left, right]), scale, zero)

    return rewrite


def single(op: str) -> Rewrite:
    """Operators of one input with a grid of their own."""

    def rewrite(tape: Tape, node: ir.Node) -> ir.Value | None:
        if node.attributes.get_int("channels_last", 0):
            return None
        kept = {
            name: held
            for name, held in node.attributes.items()
            if name not in ("channels_last", "opset")
        }
        result = tape.op(op, [real(tape, *triple(node, 0))], kept)
        return rounded(tape, result, optional_input(node, PARTS), optional_input(node, PARTS + 1))

    return rewrite


def concat(tape: Tape, node: ir.Node) -> ir.Value:
    """QLinearConcat, whose own grid comes first."""
    places = range(2, len(node.inputs), PARTS)
    parts = [real(tape, *triple(node, place)) for place in places]
    joined = tape.op("Concat", parts, node.attributes)
    return rounded(tape, joined, optional_input(node, 0), optional_input(node, 1))


def triple(node: ir.Node, place: int) -> tuple[Value, Value, Value]:
    """Codes, scale and zero point from a place on."""
    return (
        optional_input(node, place),
        optional_input(node, place + 1),
        optional_input(node, place + 2),
    )


def to_float(tape: Tape, node: ir.Node) -> ir.Value:
    """MatMulIntegerToFloat."""
    a, b, a_scale, b_scale = node.inputs[:4]
    product = [
        real(tape, a, a_scale, optional_input(node, 4)),
        side(tape, b, b_scale, optional_input(node, 5)),
    ]
    return biased(tape, tape.op("MatMul", product), optional_input(node, 6))


def dynamic(tape: Tape, node: ir.Node) -> ir.Value:
    """DynamicQuantizeMatMul."""
    a, b, b_scale = node.inputs[:3]
    codes, scale, zero = tape.op_multi_out("DynamicQuantizeLinear", [a], num_outputs=3)
    product = [real(tape, codes, scale, zero), side(tape, b, b_scale, optional_input(node, 3))]
    return biased(tape, tape.op("MatMul", product), optional_input(node, 4))


def biased(tape: Tape, value: ir.Value, bias: Value) -> ir.Value:
    """A value plus a bias, if there is one."""
    return value if bias is None else tape.op("Add", [value, bias])


def blocks(tape: Tape, node: ir.Node) -> ir.Value | None:
    """MatMulNBits with stored weights, as a product with what they stand for."""
    parts = [None if v is None else stored_tensor(v) for v in node.inputs[1:4]]
    if parts[0] is None or parts[1] is None or optional_input(node, 4) is not None:
        return None
    shape = tuple(node.attributes.get_int(name, 0) for name in ("N", "K"))
    bits, block = (node.attributes.get_int(name, 0) for name in ("bits", "block_size"))
    zeros = parts[2].numpy() if len(parts) > 2 and parts[2] is not None else None  # noqa: PLR2004
    weight = unblocked(parts[0].numpy(), parts[1].numpy(), zeros, (*shape, bits, block))
    product = tape.op("MatMul", [node.inputs[0], constant_value(tape, weight.T.copy())])
    return biased(tape, product, optional_input(node, 5))


def unblocked(
    packed: NDArray[np.generic],
    scales: NDArray[np.generic],
    zeros: NDArray[np.generic] | None,
    form: Sequence[int],
) -> NDArray[np.float32]:
    """The weight (N, K) that MatMulNBits computes with.

    Args:
        packed: (N, blocks of K, bytes), the low bits first.
        scales: of each block, N times blocks of K.
        zeros: packed like the codes, or floats; the middle of the grid where there are none.
        form: N, K, bits, block size.
    """
    rows, width, bits, block = form
    count = -(-width // block)
    codes = unpacked(packed.reshape(rows, -1), bits)[:, : count * block]
    middle = np.full((rows, count), 1 << (bits - 1), np.float32)
    if zeros is not None:
        floats = zeros.dtype.kind == "f"
        given_zeros = zeros.reshape(rows, -1)
        middle = (given_zeros if floats else unpacked(given_zeros, bits)).astype(np.float32)[
            :, :count
        ]
    wide = codes.reshape(rows, count, block).astype(np.float32) - middle[:, :, None]
    real_numbers = wide * scales.astype(np.float32).reshape(rows, count, 1)
    return np.asarray(real_numbers.reshape(rows, -1)[:, :width], np.float32)


def unpacked(packed: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    """Codes from bytes, (rows, bytes) -> (rows, codes), the low bits of each byte first."""
    spread = np.unpackbits(packed.astype(np.uint8), axis=1, bitorder="little")
    whole = spread[:, : spread.shape[1] // bits * bits].reshape(len(packed), -1, bits)
    worth = (1 << np.arange(bits)).astype(np.uint8)
    return np.asarray((whole * worth).sum(axis=2), np.uint8)


def with_scale(node: ir.Node) -> None:
    """Write an integer product that is scaled right behind as a product of real numbers, in place.

    That is how tools write dynamic quantization: codes of the input, an integer product, a Cast,
    and a Mul by the product of both scales.
    """
    found = scaling(node)
    maker = node.inputs[0].producer() if node.inputs[0] is not None else None
    if found is None or maker is None or maker.op_type != "DynamicQuantizeLinear":
        return
    last, weight_scale = found
    tape = Tape()
    codes, scale, zero = maker.outputs[:3]
    is_conv = node.op_type == "ConvInteger"
    axis = 0 if is_conv else -1
    weight = real_weight(tape, node.inputs[1], weight_scale, optional_input(node, 3), axis)
    op = "Conv" if is_conv else "MatMul"
    result = tape.op(op, [real(tape, codes, scale, zero), weight], node.attributes)
    replace_node(last, tape.nodes, result)


def scaling(node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """The Mul that scales an integer product, and the scale of its weight."""
    step = only_reader(node)
    last = None if step is None or step.op_type != "Cast" else only_reader(step)
    if last is None or last.op_type != "Mul" or node.inputs[0] is None:
        return None
    maker = node.inputs[0].producer()
    for value in last.inputs:
        both = None if value is None else value.producer()
        if both is None or both.op_type != "Mul" or maker is None:
            continue
        rest = [one for one in both.inputs if one is not maker.outputs[1]]
        if len(rest) == 1 and rest[0] is not None:
            return last, rest[0]
    return None


def only_reader(node: ir.Node) -> ir.Node | None:
    """What alone reads the result of an operator."""
    readers = list(node.outputs[0].consumers())
    return readers[0] if len(readers) == 1 else None


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "QLinearConv"): conv,
    ("", "QLinearMatMul"): matmul,
    (MICROSOFT, "QGemm"): gemm,
    (MICROSOFT, "QLinearAdd"): elementwise("Add"),
    (MICROSOFT, "QLinearMul"): elementwise("Mul"),
    (MICROSOFT, "QLinearSigmoid"): single("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): single("LeakyRelu"),
    (MICROSOFT, "QLinearSoftmax"): single("Softmax"),
    (MICROSOFT, "QLinearAveragePool"): single("AveragePool"),
    (MICROSOFT, "QLinearGlobalAveragePool"): single("GlobalAveragePool"),
    (MICROSOFT, "QLinearConcat"): concat,
    (MICROSOFT, "MatMulIntegerToFloat"): to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): dynamic,
    (MICROSOFT, "MatMulNBits"): blocks,
}
"""By domain and type, what is written instead."""
