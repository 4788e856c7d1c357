"""Where pictures are laid out anew: convolutions read and write them in an order of their own.

ONNX Runtime's float convolutions on x86 work on blocks of channels, its integer ones with channels
last; between two that want the same nothing is moved. A machine whose kernels want no other
order shows so by a low measured cost.
Source: ONNX Runtime, nchwc_transformer.cc and nhwc_transformer.cc.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx_ir as ir

from packlight.backends.onnxruntime.fusion import Fusion, same_shapes
from packlight.backends.onnxruntime.kernel_call import BYTES, Call, Dtype, log2
from packlight.backends.onnxruntime.operator_kernels import IMAGE, STEM
from packlight.profiling.counts import names
from packlight.profiling.shape_values import sizes_of

PLAIN = "plain"
BLOCKED = "blocked"
LAST = "last"

FOLLOW = names(
    "Relu Sigmoid Tanh Add Mul Sum MaxPool AveragePool GlobalAveragePool GlobalMaxPool Concat "
    "BatchNormalization Resize Upsample LeakyRelu Gelu QuickGelu"
)
"""Operators that compute in any order, and leave it as it is."""


def reorders(fusion: Fusion) -> Iterator[tuple[ir.Node, Call]]:
    """Each time that a value is laid out anew, with the operator that wants it."""
    order: dict[ir.Value, str] = {}
    done: set[tuple[ir.Value, str]] = set()
    for node in fusion.kernels():
        reads = [*map(fusion.source, fusion.computed(node)), *fusion.read.get(node, [])]
        required, written = _orders(fusion, node, [order.get(value, PLAIN) for value in reads])
        for value in reads:
            now = order.get(value, PLAIN)
            if now != required and (value, required) not in done:
                done.add((value, required))
                yield node, _reorder(value, integer=LAST in (now, required))
        for value in (*node.outputs, fusion.result(node)):
            order[value] = written
        if written != PLAIN and fusion.result(node).is_graph_output():
            yield node, _reorder(fusion.result(node), integer=written == LAST)


def _orders(fusion: Fusion, node: ir.Node, now: list[str]) -> tuple[str, str]:
    """Orders that an operator reads and gives."""
    shape = sizes_of(node.outputs[0])
    if node.op_type == "Conv" and shape is not None and len(shape) == IMAGE:
        return _convolution_orders(fusion, node)
    if node.op_type == "MaxPool" and node not in fusion.integer and _whole_blocks(shape):
        return BLOCKED, BLOCKED
    fused = node in fusion.named
    same = fused or node.op_type == "Concat" or same_shapes(node) or not now[1:]
    follows = fusion.named.get(node, node.op_type) in FOLLOW and same and len(set(now)) == 1
    if follows and (now[0] != LAST or node in fusion.integer):
        return now[0], now[0]
    return PLAIN, PLAIN


def _whole_blocks(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and len(shape) == IMAGE and shape[1] % STEM == 0


def _convolution_orders(fusion: Fusion, node: ir.Node) -> tuple[str, str]:
    """Orders that a convolution of pictures reads and gives."""
    if node in fusion.integer:
        return LAST, LAST
    weight = sizes_of(node.inputs[1])
    outputs, inputs = (weight or (0, 0))[:2]
    groups = node.attributes.get_int("group", 1)
    if groups == 1 and inputs < STEM:
        return PLAIN, BLOCKED
    fills_blocks = (inputs == 1 or inputs % STEM == 0) and (outputs // groups == 1 or inputs > 1)
    if groups == 1 or fills_blocks:
        return BLOCKED, BLOCKED
    return PLAIN, PLAIN


def _reorder(value: ir.Value, *, integer: bool) -> Call:
    kind = "reorder"
    dtype: Dtype = "float32"
    if integer:
        kind = "transpose"
        dtype = "int8"
    count = math.prod(sizes_of(value) or (1,))
    return Call(kind, dtype, 0.0, 2 * count * BYTES[dtype], (log2(count),))
