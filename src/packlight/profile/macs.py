"""Multiply-accumulates of one operator, from the shapes of what it reads and gives.

Source: the operator specifications of ONNX, opset 21. Additions of a bias are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

Shape = tuple[int, ...]
Known = Sequence[Shape]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True, slots=True)
class Shapes:
    """Shapes around one operator, all known.

    Attributes:
        inputs: by position; () also for an input that is left out.
        outputs: by position.
    """

    inputs: Known
    outputs: Known


Count = Callable[[ir.Node, Shapes], int]


def conv(node: ir.Node, shapes: Shapes) -> int:
    """Every output sums over (in / groups) x kernel."""
    del node
    return math.prod(shapes.outputs[0]) * math.prod(shapes.inputs[1][1:])


def conv_transpose(node: ir.Node, shapes: Shapes) -> int:
    """Every input is spread over (out / groups) x kernel."""
    del node
    return math.prod(shapes.inputs[0]) * math.prod(shapes.inputs[1][1:])


def gemm(node: ir.Node, shapes: Shapes) -> int:
    """Every output sums over the inner dimension."""
    inner = shapes.inputs[0][0 if node.attributes.get_int("transA", 0) else 1]
    return math.prod(shapes.outputs[0]) * inner


def matmul(node: ir.Node, shapes: Shapes) -> int:
    """Every output sums over the last axis of the left input."""
    del node
    return math.prod(shapes.outputs[0]) * shapes.inputs[0][-1]


def einsum(node: ir.Node, shapes: Shapes) -> int:
    """The product of the sizes of all letters, for two operands."""
    terms = node.attributes.get_string("equation", "").replace(" ", "").split("->")[0].split(",")
    if "." in "".join(terms):
        raise ValueError("an equation with '...'")
    sizes = {
        letter: size
        for term, shape in zip(terms, shapes.inputs, strict=False)
        for letter, size in zip(term, shape, strict=True)
    }
    return math.prod(sizes.values()) if len(terms) > 1 else 0


def recurrent(node: ir.Node, shapes: Shapes) -> int:
    """Each step multiplies the input and the state by the weights of all gates."""
    steps, batch, width = shapes.inputs[0]
    if node.attributes.get_int("layout", 0):
        steps, batch = batch, steps
    directions, rows, hidden = shapes.inputs[2]
    return steps * batch * directions * rows * (width + hidden)


MACS: Mapping[str, Count] = {
    "Conv": conv,
    "ConvInteger": conv,
    "QLinearConv": lambda node, s: conv(node, Shapes([s.inputs[0], s.inputs[3]], s.outputs)),
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "QLinearMatMul": matmul,
    "Einsum": einsum,
    **dict.fromkeys(GATES, recurrent),
}

OTHER_ARITHMETIC = ("Attention", "DeformConv", "DFT", "STFT")
"""Operators with products whose count is not known here; they are shown as unknown."""
