"""How many numbers that training found an operator reads, in whatever form they are stored.

A weight in codes counts the numbers that it stands for; its scales and zero points count none.
Source: ONNX operator specifications, and ONNX Runtime's "Contrib operators" (com.microsoft).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from packlight.model import stored_tensor

Weights = Mapping[int, ir.TensorProtocol]
"""Stored tensors by the identity of their value."""

NO_PARAMETERS = (ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.STRING)
"""Types of indices, sizes, truth values and texts, which nobody trains."""

CODES = frozenset({
    ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2,
    ir.DataType.UINT2,
})  # fmt: skip
"""Types of codes of weights, and of bytes into which narrower ones are packed."""

PLACES: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (0, 1, 2),
    "ConvInteger": (0, 1),
    "DequantizeLinear": (0,),
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
"""By operator, which inputs hold what training found, where some do not: the others are statistics
of a batch, or scales and zero points of codes."""


def single(node: ir.Node, place: int, tensor: ir.TensorProtocol) -> int:
    """One number in each element."""
    del node, place
    return int(tensor.size)


def nbits(node: ir.Node, place: int, tensor: ir.TensorProtocol) -> int:
    """MatMulNBits: blocks of packed codes, the last of which may be padded."""
    whole = node.attributes.get_int("K", 0) * node.attributes.get_int("N", 0)
    return whole if place == 1 else int(tensor.size)


def packed(bits: str) -> Callable[[ir.Node, int, ir.TensorProtocol], int]:
    """Several codes in each byte, of as many bits as an attribute says; 4 where it says nothing."""

    def count(node: ir.Node, place: int, tensor: ir.TensorProtocol) -> int:
        del place
        width = node.attributes.get_int(bits, 4)
        bytes_of_codes = tensor.dtype == ir.DataType.UINT8 and width > 0
        return int(tensor.size) * (8 // width if bytes_of_codes else 1)

    return count


PACKED: Mapping[str, Callable[[ir.Node, int, ir.TensorProtocol], int]] = {
    "GatherBlockQuantized": packed("bits"),
    "MatMulNBits": nbits,
    "QMoE": packed("expert_weight_bits"),
}
"""By operator, how many numbers an input stands for that holds more codes than elements."""


def parameters_of(
    node: ir.Node, weights: Weights, given: Callable[[], int | None]
) -> dict[int, int]:
    """Numbers in an operator's stored values which training found, by the identity of the value.

    Indices, sizes and truth values are none, nor single numbers without a dimension, as limits
    are.

    Args:
        node: the operator.
        weights: what it reads that is stored.
        given: finds how many numbers it gives, without padding; None where that is not known.
    """
    kept = {key: one for key, one in weights.items()
            if one.dtype not in NO_PARAMETERS and len(one.shape)}  # fmt: skip
    codes = [key for key, one in kept.items() if one.dtype in CODES]
    whole = given() if codes and restores(node) else None
    if whole is not None:
        return {max(codes, key=lambda key: kept[key].nbytes): whole}
    places = PLACES.get(node.op_type, range(len(node.inputs)))
    read = {place: id(node.inputs[place]) for place in places if place < len(node.inputs)}
    count = PACKED.get(node.op_type, single)
    return {key: count(node, place, kept[key]) for place, key in read.items() if key in kept}


def restores(node: ir.Node) -> bool:
    """Whether an operator may be a function that restores a weight: all that it reads is stored."""
    read = [stored_tensor(value) for value in node.inputs if value is not None]
    return bool(node.domain) and node.op_type not in PLACES and None not in read
