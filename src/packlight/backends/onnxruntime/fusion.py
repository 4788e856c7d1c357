"""Which operators become one kernel: what ONNX Runtime fuses before it runs a graph.

Only what is sure to happen on a CPU is told here; what it sometimes fuses stays apart, so that
predictions err to the slow side.
Source: ONNX Runtime, docs "Graph Optimizations in ONNX Runtime", and its optimised graphs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import onnx_ir as ir

from packlight.backends.onnxruntime.function_groups import gelu, layer_norm, skip_norm, swish
from packlight.backends.onnxruntime.graph_view import SCALES, Fusion, alike, is_factor
from packlight.backends.onnxruntime.kernel_calls import IMAGE, MATRIX
from packlight.profiling.counts import names
from packlight.profiling.shape_values import sizes_of

ACTIVATIONS = names("Relu Clip LeakyRelu Sigmoid Tanh HardSigmoid")
CUT = names("Relu Clip")
"""Activations that a QuantizeLinear behind them does by cutting off its range."""

INTEGER = names("Conv MatMul Gemm Add Mul Sigmoid LeakyRelu AveragePool GlobalAveragePool Softmax "
                "Concat")  # fmt: skip
"""What has a kernel for integers between DequantizeLinear and QuantizeLinear."""

OPEN = names("MatMul Gemm")
"""Those that may also give floats."""

MOVERS = names("Reshape Flatten Squeeze Unsqueeze Transpose MaxPool Resize Gather Slice Split")
"""What moves codes as well as numbers."""

TURN = 2
"""Last dimensions that a product of matrices can read in the other order."""


def fused(active: list[ir.Node], constant: Collection[ir.Value], *, fixed: bool) -> Fusion:
    """The operators of a graph as kernels.

    Args:
        active: operators that run, in their order.
        constant: values that are the same at every run.
        fixed: whether the model itself says all shapes.
    """
    found = Fusion(active, constant, fixed=fixed)
    for rule in RULES:
        for node in active:
            if node not in found.gone:
                rule(found, node)
    return found


def integers(found: Fusion, node: ir.Node) -> None:
    """Between codes and codes, compute in codes."""
    op, reads = node.op_type, found.computed(node)
    if op not in INTEGER | MOVERS or not reads or not all(map(restored, reads)):
        return
    stored = [v for v in node.inputs[:2] if v is not None and v not in found.constant]
    if becomes_gemm(found, node):
        return
    if op in OPEN | {"Conv"} and not all(map(restored, (*stored, node.inputs[1]))):
        return
    value, cut = node.outputs[0], None
    reader = found.only_reader(value)
    if reader is not None and reader.op_type in CUT:
        cut, reader = reader, found.only_reader(reader.outputs[0])
    if reader is not None and reader.op_type == "QuantizeLinear":
        for follower in (cut, reader):
            if follower is not None:
                found.absorb(node, follower)
    elif op not in OPEN:
        return
    found.integer.add(node)


def becomes_gemm(found: Fusion, node: ir.Node) -> bool:
    """Whether a product with a stored matrix takes up a stored bias, which makes it a Gemm.

    Where the model says all shapes, that is done for more than two dimensions too, and before
    codes are looked for: such a product then computes in floats, its weight restored at every run.
    """
    if node.op_type != "MatMul" or not found.stored(node.inputs[1]):
        return False
    reader = found.only_reader(node.outputs[0])
    if reader is None or reader.op_type != "Add" or len(found.computed(reader)) != 1:
        return False
    bias = [sizes_of(value) for value in reader.inputs if value and found.stored(value)]
    flat = len(sizes_of(node.outputs[0]) or ()) == MATRIX
    return (flat or found.fixed) and bias[0] is not None and len(bias[0]) == 1


def restored(value: ir.Value | None) -> bool:
    """Whether a value comes from codes."""
    maker = None if value is None else value.producer()
    return maker is not None and maker.op_type == "DequantizeLinear"


def codes(found: Fusion, node: ir.Node) -> None:
    """Codes that only integer kernels read are not restored."""
    if node.op_type == "DequantizeLinear":
        readers = {use.node for use in node.outputs[0].uses()}
        if readers and readers <= found.integer and not node.outputs[0].is_graph_output():
            found.gone.add(node)


def cut_off(found: Fusion, node: ir.Node) -> None:
    """What only cuts off numbers before they are rounded to codes is done by the rounding."""
    if node.op_type in CUT and node not in found.integer:
        reader = found.only_reader(node.outputs[0])
        if reader is not None and reader.op_type == "QuantizeLinear":
            found.gone.add(node)


def blocks(found: Fusion, node: ir.Node) -> None:
    """A product with stored blocks of few bits restores them itself."""
    if node.op_type != "MatMul" or node in found.integer:
        return
    maker = found.alone(node.inputs[1], "DequantizeLinear")
    if maker is not None and maker.attributes.get_int("block_size", 0) > 0:
        found.gone.add(maker)
        found.named[node] = "MatMulNBits"


def convolution(found: Fusion, node: ir.Node) -> None:
    """What follows a convolution: a normalisation, scale or shift, a sum, an activation."""
    if node.op_type not in ("Conv", "FusedConv") or node in found.integer:
        return
    while (reader := found.only_reader(found.result(node))) is not None:
        op, folded = reader.op_type, len(found.computed(reader)) == 1
        if op in ACTIVATIONS and (folded or op == "Clip"):
            found.absorb(node, reader)
            return
        shift = op in ("Add", "Mul", "Sub") and folded and is_channels(reader, found)
        joined = op == "Add" and not folded and alike(reader) and is_ready(reader, node, found)
        if not (shift or joined or (op == "BatchNormalization" and folded)):
            return
        found.absorb(node, reader)


def is_ready(join: ir.Node, node: ir.Node, found: Fusion) -> bool:
    """Whether all else that a sum reads is there when an operator runs."""
    makers = [value.producer() for value in join.inputs if value is not None]
    places = [found.running.get(maker, -1) for maker in makers if maker is not None]
    own = found.result(node).producer()
    return max(places, default=-1) <= max(found.running[node], found.running.get(own, -1))  # type: ignore[arg-type]


def is_channels(node: ir.Node, found: Fusion) -> bool:
    """Whether what is stored has one number for each channel, or one in all."""
    stored = [sizes_of(v) or () for v in node.inputs if v is not None and found.stored(v)]
    given = sizes_of(node.outputs[0]) or ()
    most = given[1] if len(given) >= IMAGE else 1
    return all(math.prod(shape) in (1, most) for shape in stored)


def matrix(found: Fusion, node: ir.Node) -> None:
    """A product of two matrices takes up a stored bias and an activation."""
    if node.op_type not in OPEN or node in found.integer:
        return
    flat = len(sizes_of(node.outputs[0]) or ()) == MATRIX
    reader = found.only_reader(found.result(node))
    if becomes_gemm(found, node) and reader is not None:
        found.absorb(node, reader)
        reader, flat = found.only_reader(found.result(node)), True
    gemm = node.op_type == "Gemm" or found.result(node) is not node.outputs[0]
    if flat and gemm and reader is not None and reader.op_type in ACTIVATIONS:
        found.absorb(node, reader)


def scaled(found: Fusion, node: ir.Node) -> None:
    """A product of computed matrices takes up a stored factor, and reads them turned."""
    if node.op_type != "MatMul" or node in found.integer:
        return
    for value in found.computed(node):
        maker = found.alone(value, "Transpose", *SCALES)
        if maker is not None and (turns(maker) or is_factor(maker, found)):
            found.gone.add(maker)
    reader = found.only_reader(found.result(node))
    if reader is not None and reader.op_type in SCALES and is_factor(reader, found):
        found.absorb(node, reader)


def turns(node: ir.Node) -> bool:
    """Whether an operator exchanges the last two dimensions and no others."""
    order = list(node.attributes.get_ints("perm", []))
    places = list(range(len(order)))
    return len(order) >= TURN and order == [*places[:-2], places[-1], places[-2]]


Rule = Callable[[Fusion, ir.Node], None]
RULES: tuple[Rule, ...] = (
    integers, codes, cut_off, blocks, gelu, layer_norm, swish, convolution, matrix, scaled,
    skip_norm,
)  # fmt: skip
"""In the order in which they apply."""
