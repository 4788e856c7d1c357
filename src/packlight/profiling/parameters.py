"""Trained numbers that an operator reads, in whatever form they are stored.

A quantized weight counts the numbers that it represents; its scales and zero points count none.
Source: ONNX operator specifications, and ONNX Runtime's "Contrib operators" (com.microsoft).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from packlight.model import stored_tensor

Weights = Mapping[int, ir.TensorProtocol]
"""Stored tensors by the identity of their value."""

NO_PARAMETERS = (ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.STRING)
"""Types of indices, sizes, truth values and texts, which are not trained."""

CODES = frozenset({
    ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2,
    ir.DataType.UINT2,
})  # fmt: skip
"""Types of codes of weights, and of bytes into which narrower ones are packed."""

PLACES: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (0, 1, 2),
    "ConvInteger": (0, 1),
    "DequantizeLinear": (0,),
    "DynamicQuantizeLSTM": (0, 1, 2, 3, 5, 6, 7),
    "DynamicQuantizeMatMul": (0, 1, 4),
    "GatherBlockQuantized": (0,),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1, 6),
    "MatMulNBits": (1, 5),
    "QAttention": (0, 1, 2),
    "QGemm": (0, 3, 6),
    "QLinearAdd": (0, 3),
    "QLinearConv": (0, 3, 8),
    "QLinearMatMul": (0, 3),
    "QLinearMul": (0, 3),
    "QMoE": (2, 4, 5, 7, 8, 10),
    "QuantizeLinear": (0,),
}
"""Inputs with trained numbers, by operators that have other inputs too: statistics of a batch, or
scales and zero points of codes."""


def single(node: ir.Node, index: int, tensor: ir.TensorProtocol) -> int:
    """One number in each element."""
    del node, index
    return int(tensor.size)


def _nbits(node: ir.Node, index: int, tensor: ir.TensorProtocol) -> int:
    total = node.attributes.get_int("K", 0) * node.attributes.get_int("N", 0)
    if index == 1:
        return total
    return int(tensor.size)


def packed(bits: str) -> Callable[[ir.Node, int, ir.TensorProtocol], int]:
    """Count several codes in each byte, of as many bits as an attribute says; 4 by default."""

    def count(node: ir.Node, index: int, tensor: ir.TensorProtocol) -> int:
        del index
        width = node.attributes.get_int(bits, 4)
        if tensor.dtype != ir.DataType.UINT8 or width <= 0:
            return int(tensor.size)
        return int(tensor.size) * (8 // width)

    return count


PACKED: Mapping[str, Callable[[ir.Node, int, ir.TensorProtocol], int]] = {
    "GatherBlockQuantized": packed("bits"),
    "MatMulNBits": _nbits,
    "QMoE": packed("expert_weight_bits"),
}
"""Counts of numbers, by operators with inputs that hold more codes than elements."""


def parameters_of(
    node: ir.Node, weights: Weights, output_numbers: Callable[[], int | None]
) -> dict[int, int]:
    """Trained numbers in an operator's stored values, by the identity of the value.

    Indices, sizes and truth values count none, nor do scalars such as limits.

    Args:
        node: the operator.
        weights: its stored inputs.
        output_numbers: counts the numbers of its output, without padding; None where unknown.
    """
    trained = {key: tensor for key, tensor in weights.items()
               if tensor.dtype not in NO_PARAMETERS and len(tensor.shape)}  # fmt: skip
    codes = [key for key, tensor in trained.items() if tensor.dtype in CODES]
    if codes and _is_dequantizer(node):
        total = output_numbers()
        if total is not None:
            return {max(codes, key=lambda key: trained[key].nbytes): total}
    indices = PLACES.get(node.op_type, range(len(node.inputs)))
    inputs = {index: id(node.inputs[index]) for index in indices if index < len(node.inputs)}
    count = PACKED.get(node.op_type, single)
    return {
        key: count(node, index, trained[key]) for index, key in inputs.items() if key in trained
    }


def _is_dequantizer(node: ir.Node) -> bool:
    tensors = [stored_tensor(value) for value in node.inputs if value is not None]
    return bool(node.domain) and node.op_type not in PLACES and None not in tensors
