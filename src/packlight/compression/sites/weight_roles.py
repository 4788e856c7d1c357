"""Weight inputs of operators, and the axes of the weight that each sums over.

Everything that groups weights (scales per channel, blocks) follows from the axes that an operator
sums over: outputs that share no scale must not lie in one group.
Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.compression.encoding.stored_values import UniqueNames
from packlight.model import nodes, stored_tensor

MATRIX = 2


@dataclass(frozen=True, slots=True)
class Role:
    """Use of one weight by one operator.

    Attributes:
        node: the operator.
        index: of the input that is the weight.
        rank: of the weight.
        summed: axes of the shape by ``split_groups`` that are summed over, sorted; the remaining
            axes tell outputs apart.
        names: of the model's values.
    """

    node: ir.Node
    index: int
    rank: int
    summed: tuple[int, ...]
    names: UniqueNames = field(compare=False, repr=False)

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)


STANDARD = ("", "ai.onnx")
"""Names of the domain of the operators that ONNX defines."""


def is_standard(node: ir.Node, *kinds: str) -> bool:
    """Check that ONNX defines an operator of one of these kinds, so that it is no function."""
    return node.domain in STANDARD and node.op_type in kinds


SummedAxes = Callable[[ir.Node, int, int], tuple[int, ...] | None]
"""(operator, input index, rank of the weight) -> axes summed over; None where it is no weight.

Axes are those of the shape by ``split_groups``.
"""


def _conv_axes(_: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(out, in / groups, ...kernel)."""
    if index != 1:
        return None
    return tuple(range(1, rank))


def _conv_transpose_axes(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(in, out / groups, ...kernel), or (groups, in / groups, out / groups, ...kernel)."""
    if index != 1:
        return None
    first = int(node.attributes.get_int("group", 1) > 1)
    return (first, *range(first + 2, first + rank))


def _gemm_axes(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(in, out), or (out, in) with transB."""
    if index != 1 or rank != MATRIX:
        return None
    return (int(node.attributes.get_int("transB", 0) != 0),)


def _matmul_axes(_: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(..., in, out) on the right; (..., out, in) on the left."""
    if rank < MATRIX:
        return None
    return (rank - 1 - index,)


def _recurrent_axes(_: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(directions, gates x hidden, in) and (directions, gates x hidden, hidden)."""
    if index not in (1, 2):
        return None
    return (rank - 1,)


def _gather_axes(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(entries, width): every entry is an output of its own."""
    if index != 0 or rank != MATRIX or node.attributes.get_int("axis", 0) != 0:
        return None
    return (1,)


def split_groups(node: ir.Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a weight in which every axis is either summed over or tells outputs apart.

    Groups of a ConvTranspose lie along the axis of its inputs, so they get an axis of their own.
    """
    groups = node.attributes.get_int("group", 1)
    if node.op_type != "ConvTranspose" or groups == 1:
        return shape
    return (groups, shape[0] // groups, *shape[1:])


SUMMED_AXES: dict[str, SummedAxes] = {
    "Conv": _conv_axes,
    "ConvTranspose": _conv_transpose_axes,
    "Gemm": _gemm_axes,
    "MatMul": _matmul_axes,
    "LSTM": _recurrent_axes,
    "GRU": _recurrent_axes,
    "RNN": _recurrent_axes,
    "Gather": _gather_axes,
}


_UNSUPPORTED_WEIGHTS: dict[str, tuple[tuple[int, ...], str]] = {
    "Einsum": ((0, 1, 2), "export it as a MatMul"),
    "Gather": ((0,), "gather along the first axis of a matrix"),
    "Gemm": ((0,), "export it with the weight as the second input"),
    "com.microsoft.FusedConv": ((1,), "take the model before ONNX Runtime fused it"),
    "com.microsoft.FusedMatMul": ((0, 1), "take the model before ONNX Runtime fused it"),
}
"""Inputs that may hold a weight whose summed axes are unknown, and the remedy."""


def stored(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The stored tensor behind a value: an initializer or the output of a Constant."""
    if value is None or value.is_graph_input():
        return None
    return stored_tensor(value)


def constant_values(graph: ir.Model) -> set[int]:
    """Identities of values computed from stored ones only; inputs with a stored default count."""
    defaults = graph.graph.initializers.values()
    constants = {id(value) for value in defaults if value.is_graph_input()}
    for node in nodes(graph):
        inputs = [value for value in node.inputs if value is not None]
        if inputs and all(id(value) in constants or stored(value) is not None for value in inputs):
            constants.update(map(id, node.outputs))
    return constants


def unsupported_weights(graph: ir.Model, least: int) -> Iterator[tuple[ir.Node, ir.Value, str]]:
    """Stored float32 weights without a role, each once, with an operator and a remedy.

    Args:
        graph: the model.
        least: number of elements from which a tensor counts as a weight.
    """
    reported = {id(value) for _, value in weight_roles(graph)}
    for node in nodes(graph):
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        indices, remedy = _UNSUPPORTED_WEIGHTS.get(kind, ((), ""))
        for value in (node.inputs[index] for index in indices if index < len(node.inputs)):
            tensor = stored(value)
            if value is None or tensor is None or id(value) in reported:
                continue
            if _is_weight(tensor) and tensor.size >= least:
                reported.add(id(value))
                yield node, value, remedy


def _is_weight(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) >= MATRIX


def weight_roles(graph: ir.Model) -> Iterator[tuple[Role, ir.Value | None]]:
    """Every weight input of every operator, with the value it reads, stored or computed."""
    names = UniqueNames(graph)
    for node in nodes(graph):
        if not is_standard(node, *SUMMED_AXES):
            continue
        for index, value in enumerate(node.inputs):
            tensor = stored(value)
            rank = len(tensor.shape) if tensor is not None else MATRIX
            axes = SUMMED_AXES[node.op_type](node, index, rank)
            if axes is not None:
                yield Role(node, index, rank, axes, names), value
