"""Replace integer operators by references whose integers are exact on every machine.

ONNX Runtime's 8-bit kernels saturate sums of two products at 16 bits on x86 without VNNI, even
with graph optimisations off. The references below use arithmetic that has room: float64 products,
or float32 convolutions of digits so small that no partial sum reaches 2**24.

Source: the ONNX operators MatMulInteger-10, ConvInteger-10, QLinearMatMul-21, QLinearConv-10,
DynamicQuantizeLinear-11; ONNX Runtime's ContribOperators.md for those of ``com.microsoft``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir
from onnx_ir.tape import Tape

from packlight.model import Model, nodes
from packlight.runtime.exact_convolution import UnsizedError, conv_sum, per_channel
from packlight.runtime.exact_products import Operands, as_type, given, matmul_sum, scaled

MICROSOFT = "com.microsoft"
FLOAT32_ACTIVATIONS = 1
"""``accuracy_level`` of MatMulNBits that keeps its activations in float32."""

INEXACT_PREFIXES = (
    "DynamicQuantize", "MatMulInteger", "MatMulFpQ4", "QAttention", "QEmbed", "QGemm",
    "QLinear", "QMoE", "QOrdered",
)  # fmt: skip
"""Families of ``com.microsoft`` that compute with integers."""

Reference = Callable[[Tape, ir.Node], ir.Value]


def exact(model: Model) -> tuple[Model, tuple[str, ...]]:
    """A model whose integer operators, those in subgraphs too, are replaced by references.

    Returns:
        The rewritten model, and ``TYPE NAME`` of each integer operator that has no reference. The
        names of values are kept.
    """
    clone = model.clone()
    inner = [node for function in clone.functions.values() for node in function.all_nodes()]
    inexact = tuple(
        f"{node.op_type} {node.name or node.outputs[0].name}"
        for node in [*nodes(clone), *inner]
        if not rewrite(node)
    )
    return Model(clone, model.name), inexact


def rewrite(node: ir.Node) -> bool:
    """Replace one operator if it computes with integers; False where that is not possible."""
    key = ("" if node.domain == "ai.onnx" else node.domain, node.op_type)
    if key == (MICROSOFT, "MatMulNBits"):
        node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", FLOAT32_ACTIVATIONS)
        return True
    reference = REFERENCES.get(key)
    if reference is None:
        return not (key[0] == MICROSOFT and key[1].startswith(INEXACT_PREFIXES))
    tape = Tape()
    try:
        result = reference(tape, node)
    except UnsizedError:
        return False
    substitute(node, tape.nodes, result)
    return True


def substitute(node: ir.Node, new: Sequence[ir.Node], result: ir.Value) -> None:
    """Put new operators in the place of one; its output keeps its name."""
    graph = node.graph
    assert graph is not None
    stem = node.outputs[0].name
    for index, made in enumerate(new):
        made.name = f"{node.name or stem}.exact.{index}"
        for slot, value in enumerate(made.outputs):
            value.name = f"{stem}.exact.{index}.{slot}"
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, node.outputs, [result])


def matmul_integer(tape: Tape, node: ir.Node) -> ir.Value:
    """Sums of products of integers, in float64 and then int32."""
    a, b = node.inputs[:2]
    total = matmul_sum(tape, Operands(a, b, given(node, 2), given(node, 3)))
    return as_type(tape, total, ir.DataType.INT32)


def qlinear_matmul(tape: Tape, node: ir.Node) -> ir.Value:
    """An exact sum, scaled in float64, rounded to the grid of the output."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    total = matmul_sum(tape, Operands(a, b, a_zero, b_zero))
    return requantized(tape, scaled(tape, total, a_scale, b_scale), y_scale, y_zero)


def conv_integer(tape: Tape, node: ir.Node) -> ir.Value:
    """Sums of products of integers, in float32 digits and then int32."""
    x, w = node.inputs[:2]
    return conv_sum(tape, Operands(x, w, given(node, 2), given(node, 3)), node.attributes)


def qlinear_conv(tape: Tape, node: ir.Node) -> ir.Value:
    """An exact sum with its bias, scaled in float64, rounded to the grid of the output."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    total = conv_sum(tape, Operands(x, w, x_zero, w_zero), node.attributes)
    bias = given(node, 8)
    if bias is not None:
        total = tape.op("Add", [total, per_channel(tape, bias, w, axis=1)])
    wide = as_type(tape, total, ir.DataType.DOUBLE)
    scale = per_channel(tape, w_scale, w, axis=1)
    return requantized(tape, scaled(tape, wide, x_scale, scale), y_scale, y_zero)


def requantized(
    tape: Tape, real: ir.Value, scale: ir.Value | None, zero: ir.Value | None
) -> ir.Value:
    """Round real numbers (float64) to a grid."""
    narrow = as_type(tape, real, ir.DataType.FLOAT)
    return tape.op("QuantizeLinear", [narrow, as_type(tape, scale, ir.DataType.FLOAT), zero])


def matmul_integer_to_float(tape: Tape, node: ir.Node) -> ir.Value:
    """An exact sum, scaled in float64, plus a bias."""
    a, b, a_scale, b_scale = node.inputs[:4]
    total = matmul_sum(tape, Operands(a, b, given(node, 4), given(node, 5)))
    real = scaled(tape, total, a_scale, b_scale)
    return biased(tape, real, given(node, 6), a_scale)


def dynamic_quantize_matmul(tape: Tape, node: ir.Node) -> ir.Value:
    """Activations rounded to uint8 by their own range, then as ``matmul_integer_to_float``."""
    a, b, b_scale = node.inputs[:3]
    codes, a_scale, a_zero = tape.op_multi_out("DynamicQuantizeLinear", [a], num_outputs=3)
    total = matmul_sum(tape, Operands(codes, b, a_zero, given(node, 3)))
    real = scaled(tape, total, a_scale, b_scale)
    return biased(tape, real, given(node, 4), a_scale)


def biased(tape: Tape, real: ir.Value, bias: ir.Value | None, like: ir.Value | None) -> ir.Value:
    """Add a bias in float64, and give the type of another value (float32 where it is not known)."""
    if bias is not None:
        real = tape.op("Add", [real, as_type(tape, bias, ir.DataType.DOUBLE)])
    kind = None if like is None else like.dtype
    return as_type(tape, real, kind or ir.DataType.FLOAT)


REFERENCES: dict[tuple[str, str], Reference] = {
    ("", "MatMulInteger"): matmul_integer,
    ("", "QLinearMatMul"): qlinear_matmul,
    ("", "ConvInteger"): conv_integer,
    ("", "QLinearConv"): qlinear_conv,
    (MICROSOFT, "MatMulIntegerToFloat"): matmul_integer_to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): dynamic_quantize_matmul,
}
"""By domain and type, what computes the same without saturation."""
