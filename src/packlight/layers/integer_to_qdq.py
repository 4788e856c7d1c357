"""Integer operators written as float operators between QuantizeLinear and DequantizeLinear.

The arithmetic is the same except for the rounding of float32 sums. The quantized values and their
grids can then be read from the graph in one way, whichever form a tool wrote.

Source: QLinearConv-10, QLinearMatMul-21, ConvInteger-10, MatMulInteger-10, DynamicQuantizeLinear-11
of ONNX; ContribOperators.md of ONNX Runtime for the operators of ``com.microsoft``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from packlight.model import Model, nodes, optional_input, producer_of, stored_array, stored_tensor
from packlight.runtime.exact_integers import MICROSOFT, replace_node
from packlight.runtime.exact_sums import cast_to, constant_value, static_shape
from packlight.runtime.nested_graphs import infer_types

Value = ir.Value | None
Rewrite = Callable[[Tape, ir.Node], ir.Value | Sequence[ir.Value] | None]
"""Writes an equivalent float operator and returns its results, or None where the operator stays."""

NIBBLE = 4
PARTS = 3
"""Inputs that describe a quantized value: codes, scale, zero point."""


def to_qdq_form(model: Model) -> ir.Model:
    """Copy a model, its integer operators rewritten in QDQ form, with all types filled in."""
    copy = model.clone()
    for node in list(nodes(copy)):
        domain = "" if node.domain == "ai.onnx" else node.domain
        rewrite = REWRITES.get((domain, node.op_type))
        if rewrite is not None and node.graph is not None:
            tape = Tape()
            result = rewrite(tape, node)
            if result is not None:
                replace_node(node, tape.nodes, result)
    for node in list(nodes(copy)):
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            _rewrite_integer_product(node)
    return infer_types(copy)


def _dequantize(tape: Tape, codes: Value, scale: Value, zero_point: Value) -> ir.Value:
    return tape.op("DequantizeLinear", [codes, scale, *_present(zero_point)])


def _present(value: Value) -> list[ir.Value]:
    """A last input of an operator, which it may go without."""
    if value is None:
        return []
    return [value]


def _dequantize_weight(
    tape: Tape, codes: Value, scale: Value, zero_point: Value, axis: int
) -> ir.Value:
    """Dequantize a weight with operators that every opset has."""
    weight = cast_to(tape, codes, ir.DataType.FLOAT)
    if zero_point is not None:
        offset = cast_to(tape, zero_point, ir.DataType.FLOAT)
        weight = tape.op("Sub", [weight, _reshape_along_axis(tape, offset, codes, axis)])
    return tape.op("Mul", [weight, _reshape_along_axis(tape, scale, codes, axis)])


def _reshape_along_axis(tape: Tape, value: Value, reference: Value, axis: int) -> Value:
    """Reshape a vector to broadcast along one axis of a reference value."""
    if value is None or reference is None:
        return value
    sizes = static_shape(value)
    reference_shape = static_shape(reference)
    if sizes is None or reference_shape is None or len(sizes) != 1 or sizes == (1,):
        return value
    shape = np.ones(len(reference_shape), np.int64)
    shape[axis] = -1
    return tape.op("Reshape", [value, constant_value(tape, shape)])


def _quantize(tape: Tape, value: ir.Value, scale: Value, zero_point: Value) -> ir.Value:
    return tape.op("QuantizeLinear", [value, scale, *_present(zero_point)])


def _rewrite_qlinear_conv(tape: Tape, node: ir.Node) -> ir.Value:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    activation = _dequantize(tape, x, x_scale, x_zero)
    inputs = [activation, _dequantize_weight(tape, w, w_scale, w_zero, 0)]
    bias = optional_input(node, 8)
    if bias is not None:
        scale = tape.op("Mul", [x_scale, w_scale])
        inputs.append(tape.op("Mul", [cast_to(tape, bias, ir.DataType.FLOAT), scale]))
    return _quantize(tape, tape.op("Conv", inputs, node.attributes), y_scale, y_zero)


def _rewrite_qlinear_matmul(tape: Tape, node: ir.Node) -> ir.Value:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs[:8]
    left = _dequantize(tape, a, a_scale, a_zero)
    right = _dequantize_right_operand(tape, b, b_scale, b_zero)
    return _quantize(tape, tape.op("MatMul", [left, right]), y_scale, y_zero)


def _dequantize_right_operand(
    tape: Tape, codes: Value, scale: Value, zero_point: Value
) -> ir.Value:
    """Dequantize the right side of a product: a weight with a scale per column or an activation."""
    if codes is not None and stored_tensor(codes) is not None:
        return _dequantize_weight(tape, codes, scale, zero_point, -1)
    return _dequantize(tape, codes, scale, zero_point)


def _rewrite_qgemm(tape: Tape, node: ir.Node) -> ir.Value:
    """Rewrite QGemm; without an output scale the result is float."""
    a, a_scale, a_zero, b, b_scale, b_zero = node.inputs[:6]
    axis = 0 if node.attributes.get_int("transB", 0) else 1
    weight = _dequantize_weight(tape, b, b_scale, b_zero, axis)
    inputs = [_dequantize(tape, a, a_scale, a_zero), weight]
    bias = optional_input(node, 6)
    if bias is not None:
        scale = tape.op("Mul", [a_scale, b_scale])
        inputs.append(tape.op("Mul", [cast_to(tape, bias, ir.DataType.FLOAT), scale]))
    total = tape.op("Gemm", inputs, node.attributes)
    scale_out = optional_input(node, 7)
    if scale_out is None:
        return total
    return _quantize(tape, total, scale_out, optional_input(node, 8))


def _rewrite_elementwise(op: str) -> Rewrite:
    """Make the rewrite of QLinearAdd or QLinearMul."""

    def rewrite(tape: Tape, node: ir.Node) -> ir.Value:
        left = _dequantize(tape, *_quantized_input(node, 0))
        right = _dequantize(tape, *_quantized_input(node, PARTS))
        return _quantize(
            tape, tape.op(op, [left, right]), optional_input(node, 6), optional_input(node, 7)
        )

    return rewrite


def _rewrite_unary(op: str) -> Rewrite:
    """Make the rewrite of an operator with one input and its output's grid."""

    def rewrite(tape: Tape, node: ir.Node) -> ir.Value | None:
        if node.attributes.get_int("channels_last", 0):
            return None
        attributes = dict(node.attributes)
        for name in ("channels_last", "opset"):
            attributes.pop(name, None)
        result = tape.op(op, [_dequantize(tape, *_quantized_input(node, 0))], attributes)
        return _quantize(tape, result, optional_input(node, PARTS), optional_input(node, PARTS + 1))

    return rewrite


def _rewrite_concat(tape: Tape, node: ir.Node) -> ir.Value:
    """Rewrite QLinearConcat, whose output grid comes first."""
    starts = range(2, len(node.inputs), PARTS)
    parts = [_dequantize(tape, *_quantized_input(node, start)) for start in starts]
    joined = tape.op("Concat", parts, node.attributes)
    return _quantize(tape, joined, optional_input(node, 0), optional_input(node, 1))


def _quantized_input(node: ir.Node, start: int) -> tuple[Value, Value, Value]:
    return (
        optional_input(node, start),
        optional_input(node, start + 1),
        optional_input(node, start + 2),
    )


def _rewrite_matmul_integer_to_float(tape: Tape, node: ir.Node) -> ir.Value:
    a, b, a_scale, b_scale = node.inputs[:4]
    left = _dequantize(tape, a, a_scale, optional_input(node, 4))
    right = _dequantize_right_operand(tape, b, b_scale, optional_input(node, 5))
    return _add_bias(tape, tape.op("MatMul", [left, right]), optional_input(node, 6))


def _rewrite_dynamic_matmul(tape: Tape, node: ir.Node) -> ir.Value:
    """Rewrite DynamicQuantizeMatMul."""
    a, b, b_scale = node.inputs[:3]
    codes, scale, zero = tape.op_multi_out("DynamicQuantizeLinear", [a], num_outputs=3)
    left = _dequantize(tape, codes, scale, zero)
    right = _dequantize_right_operand(tape, b, b_scale, optional_input(node, 3))
    return _add_bias(tape, tape.op("MatMul", [left, right]), optional_input(node, 4))


def _rewrite_dynamic_lstm(tape: Tape, node: ir.Node) -> Sequence[ir.Value]:
    """Rewrite DynamicQuantizeLSTM; the states between its steps stay floats."""
    codes, scale, zero = tape.op_multi_out("DynamicQuantizeLinear", [node.inputs[0]], num_outputs=3)
    weights = [_dequantize_gates(tape, node, place, scales) for place, scales in ((1, 8), (2, 10))]
    others = [optional_input(node, place) for place in range(3, 8)]
    inputs = [_dequantize(tape, codes, scale, zero), *weights, *others]
    return tape.op_multi_out("LSTM", inputs, node.attributes, num_outputs=len(node.outputs))


def _dequantize_gates(tape: Tape, node: ir.Node, place: int, scales: int) -> ir.Value:
    """Dequantize a weight (directions, in, gates) with a scale for each direction or gate."""
    shape = constant_value(tape, np.array([0, 1, -1], np.int64))
    weight = cast_to(tape, node.inputs[place], ir.DataType.FLOAT)
    scale, zero = (optional_input(node, index) for index in (scales, scales + 1))
    if zero is not None:
        offset = cast_to(tape, tape.op("Reshape", [zero, shape]), ir.DataType.FLOAT)
        weight = tape.op("Sub", [weight, offset])
    weight = tape.op("Mul", [weight, tape.op("Reshape", [scale, shape])])
    return tape.op("Transpose", [weight], {"perm": [0, 2, 1]})


def _add_bias(tape: Tape, value: ir.Value, bias: Value) -> ir.Value:
    if bias is None:
        return value
    return tape.op("Add", [value, bias])


def _rewrite_matmul_nbits(tape: Tape, node: ir.Node) -> ir.Value | None:
    """Rewrite MatMulNBits with stored weights as a product with the float weight."""
    codes, scales, zero_points = (_stored_input(node, index) for index in (1, 2, 3))
    if codes is None or scales is None or optional_input(node, 4) is not None:
        return None
    form = [node.attributes.get_int(name, 0) for name in ("N", "K", "bits", "block_size")]
    weight = _dequantize_blocks(codes, scales, zero_points, form)
    product = tape.op("MatMul", [node.inputs[0], constant_value(tape, weight.T.copy())])
    return _add_bias(tape, product, optional_input(node, 5))


def _stored_input(node: ir.Node, index: int) -> NDArray[np.generic] | None:
    return stored_array(optional_input(node, index))


def _dequantize_blocks(
    packed: NDArray[np.generic],
    scales: NDArray[np.generic],
    zeros: NDArray[np.generic] | None,
    form: Sequence[int],
) -> NDArray[np.float32]:
    """Compute the float weight (N, K) of MatMulNBits.

    Args:
        packed: (N, blocks of K, bytes), the low bits first.
        scales: of each block, N times blocks of K.
        zeros: packed like the codes, or floats; None for the middle of the grid.
        form: N, K, bits, block size.
    """
    rows, width, bits, block = form
    count = -(-width // block)
    codes = _unpack_bits(packed.reshape(rows, -1), bits)[:, : count * block]
    middle = np.full((rows, count), 1 << (bits - 1), np.float32)
    if zeros is not None:
        zero_rows = zeros.reshape(rows, -1)
        if zeros.dtype.kind != "f":
            zero_rows = _unpack_bits(zero_rows, bits)
        middle = zero_rows.astype(np.float32)[:, :count]
    steps = codes.reshape(rows, count, block).astype(np.float32) - middle[:, :, None]
    weight = steps * scales.astype(np.float32).reshape(rows, count, 1)
    return np.asarray(weight.reshape(rows, -1)[:, :width], np.float32)


def _unpack_bits(packed: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    """Codes from bytes, (rows, bytes) -> (rows, codes), the low bits of a byte first."""
    bits_of_row = np.unpackbits(packed.astype(np.uint8), axis=1, bitorder="little")
    bit_rows = bits_of_row[:, : bits_of_row.shape[1] // bits * bits].reshape(len(packed), -1, bits)
    bit_values = (1 << np.arange(bits)).astype(np.uint8)
    return np.asarray((bit_rows * bit_values).sum(axis=2), np.uint8)


def _rewrite_integer_product(node: ir.Node) -> None:
    """Rewrite an integer product and the scaling behind it as a float product, in place.

    Tools write dynamic quantization so: codes of the input, an integer product, a Cast, and a Mul
    by the product of two scales.
    """
    scaling = _find_scaling(node)
    if scaling is None:
        return
    scaling_mul, quantizer, weight_scale = scaling
    if quantizer.op_type != "DynamicQuantizeLinear":
        return
    tape = Tape()
    codes, scale, zero = quantizer.outputs[:3]
    op, axis = {"ConvInteger": ("Conv", 0)}.get(node.op_type, ("MatMul", -1))
    weight = _dequantize_weight(tape, node.inputs[1], weight_scale, optional_input(node, 3), axis)
    result = tape.op(op, [_dequantize(tape, codes, scale, zero), weight], node.attributes)
    replace_node(scaling_mul, tape.nodes, result)


def _find_scaling(node: ir.Node) -> tuple[ir.Node, ir.Node, ir.Value] | None:
    """The Mul that scales an integer product, the input's quantizer, and the weight's scale."""
    cast = _only_reader(node)
    if cast is None or cast.op_type != "Cast" or node.inputs[0] is None:
        return None
    scaling_mul = _only_reader(cast)
    quantizer = node.inputs[0].producer()
    if scaling_mul is None or scaling_mul.op_type != "Mul" or quantizer is None:
        return None
    for value in scaling_mul.inputs:
        scale_product = producer_of(value)
        if scale_product is None or scale_product.op_type != "Mul":
            continue
        scales = [scale for scale in scale_product.inputs if scale is not quantizer.outputs[1]]
        if len(scales) == 1 and scales[0] is not None:
            return scaling_mul, quantizer, scales[0]
    return None


def _only_reader(node: ir.Node) -> ir.Node | None:
    readers = list(node.outputs[0].consumers())
    return readers[0] if len(readers) == 1 else None


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "QLinearConv"): _rewrite_qlinear_conv,
    ("", "QLinearMatMul"): _rewrite_qlinear_matmul,
    (MICROSOFT, "QGemm"): _rewrite_qgemm,
    (MICROSOFT, "QLinearAdd"): _rewrite_elementwise("Add"),
    (MICROSOFT, "QLinearMul"): _rewrite_elementwise("Mul"),
    (MICROSOFT, "QLinearSigmoid"): _rewrite_unary("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): _rewrite_unary("LeakyRelu"),
    (MICROSOFT, "QLinearSoftmax"): _rewrite_unary("Softmax"),
    (MICROSOFT, "QLinearAveragePool"): _rewrite_unary("AveragePool"),
    (MICROSOFT, "QLinearGlobalAveragePool"): _rewrite_unary("GlobalAveragePool"),
    (MICROSOFT, "QLinearConcat"): _rewrite_concat,
    (MICROSOFT, "MatMulIntegerToFloat"): _rewrite_matmul_integer_to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): _rewrite_dynamic_matmul,
    (MICROSOFT, "DynamicQuantizeLSTM"): _rewrite_dynamic_lstm,
    (MICROSOFT, "MatMulNBits"): _rewrite_matmul_nbits,
}
"""Rewrites by domain and operator type."""
