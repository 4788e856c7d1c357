"""Which input of which operator is a weight, and along which of its axes it sums.

Everything that groups weights (scales per channel, blocks) follows from the axes that an operator
sums over: outputs that share no scale must not lie in one group.
Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.compression.encoding.unique_names import Names
from packlight.model import nodes, stored_tensor

MATRIX = 2


@dataclass(frozen=True, slots=True)
class Role:
    """How one operator reads one weight.

    Attributes:
        node: the operator.
        index: which of its inputs the weight is.
        rank: of the weight.
        summed: the axes that are summed over, sorted; the others tell outputs apart.
        names: of the model's values.
    """

    node: ir.Node
    index: int
    rank: int
    summed: tuple[int, ...]
    names: Names = field(compare=False, repr=False)

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)


STANDARD = ("", "ai.onnx")
"""Names of the domain of the operators that ONNX defines."""


def is_standard(node: ir.Node, *kinds: str) -> bool:
    """Whether an operator is one of these that ONNX defines, not a function of that name."""
    return node.domain in STANDARD and node.op_type in kinds


Summed = Callable[[ir.Node, int, int], tuple[int, ...] | None]
"""(operator, input index, rank of the weight) -> axes summed over; None where it is no weight."""


def conv(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(out, in / groups, ...kernel)."""
    del node
    return tuple(range(1, rank)) if index == 1 else None


def conv_transpose(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(in, out / groups, ...kernel)."""
    del node
    return (0, *range(2, rank)) if index == 1 else None


def gemm(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(in, out), or (out, in) with transB."""
    if index != 1 or rank != MATRIX:
        return None
    return (1,) if node.attributes.get_int("transB", 0) else (0,)


def matmul(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(..., in, out) on the right; (..., out, in) on the left."""
    del node
    if rank < MATRIX:
        return None
    return (rank - 2,) if index == 1 else (rank - 1,)


def recurrent(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(directions, gates x hidden, in) and (directions, gates x hidden, hidden)."""
    del node
    return (rank - 1,) if index in (1, 2) else None


def gather(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(entries, width): every entry is an output of its own."""
    if index != 0 or rank != MATRIX or node.attributes.get_int("axis", 0) != 0:
        return None
    return (1,)


SUMMED: dict[str, Summed] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
    "Gather": gather,
}


OTHERS: dict[str, tuple[tuple[int, ...], str]] = {
    "Einsum": ((0, 1, 2), "export it as a MatMul"),
    "Gather": ((0,), "gather along the first axis of a matrix"),
    "Gemm": ((0,), "export it with the weight as the second input"),
    "com.microsoft.FusedConv": ((1,), "take the model before ONNX Runtime fused it"),
    "com.microsoft.FusedMatMul": ((0, 1), "take the model before ONNX Runtime fused it"),
}
"""Inputs that may hold a weight whose axes are not known, and what to do about it."""


def stored(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The stored tensor behind a value: an initializer or the output of a Constant."""
    if value is None or value.is_graph_input():
        return None
    return stored_tensor(value)


def computed_from_stored(graph: ir.Model) -> set[int]:
    """Identities of values made of nothing but stored ones, inputs with a stored default too."""
    defaults = graph.graph.initializers.values()
    found = {id(value) for value in defaults if value.is_graph_input()}
    for node in nodes(graph):
        given = [value for value in node.inputs if value is not None]
        if given and all(id(value) in found or stored(value) is not None for value in given):
            found.update(map(id, node.outputs))
    return found


def unclaimed(graph: ir.Model, least: int) -> Iterator[tuple[ir.Node, ir.Value, str]]:
    """Stored float32 weights that no role takes, each once, with an operator and what to do.

    Args:
        graph: the model.
        least: numbers that a weight has.
    """
    seen = {id(value) for _, value in roles(graph)}
    for node in nodes(graph):
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        places, remedy = OTHERS.get(kind, ((), ""))
        for value in (node.inputs[index] for index in places if index < len(node.inputs)):
            tensor = stored(value)
            if value is None or tensor is None or id(value) in seen:
                continue
            if is_weight(tensor) and tensor.size >= least:
                seen.add(id(value))
                yield node, value, remedy


def is_weight(tensor: ir.TensorProtocol) -> bool:
    """Whether a tensor may be a weight: a float32 matrix, or more than one."""
    return tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) >= MATRIX


def roles(graph: ir.Model) -> Iterator[tuple[Role, ir.Value | None]]:
    """Every place where an operator takes a weight, with the value it takes there.

    The value is one that is stored where the operator's weight is stored, and one that is
    computed where it is computed.
    """
    names = Names(graph)
    for node in nodes(graph):
        summed = SUMMED.get(node.op_type) if node.domain in STANDARD else None
        if summed is None:
            continue
        for index, value in enumerate(node.inputs):
            tensor = stored(value)
            rank = len(tensor.shape) if tensor is not None else MATRIX
            axes = summed(node, index, rank)
            if axes is not None:
                yield Role(node, index, rank, axes, names), value
