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
        observed: whether calibration samples show what the weight multiplies.
    """

    node: ir.Node
    index: int
    rank: int
    summed: tuple[int, ...]
    names: UniqueNames = field(compare=False, repr=False)
    observed: bool = True

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)

    @property
    def kind(self) -> str:
        """Type of the standard operator that multiplies alike; empty where none does."""
        if not self.observed:
            return ""
        return _LIKE.get(self.node.op_type, self.node.op_type)


STANDARD = ("", "ai.onnx")
"""Names of the domain of the operators that ONNX defines."""


def is_standard(node: ir.Node, *kinds: str) -> bool:
    """Check that ONNX defines an operator, of one of these kinds if any, so it is no function."""
    return node.domain in STANDARD and (not kinds or node.op_type in kinds)


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


MICROSOFT = "com.microsoft"
"""Name of the domain of ONNX Runtime's own operators."""


def _fused_matmul_axes(node: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """As MatMul; each operand may be transposed."""
    if index > 1 or rank < MATRIX or _moves_batch(node):
        return None
    transposed = node.attributes.get_int(("transA", "transB")[index], 0) != 0
    along_rows = (index == 0) != transposed
    return (rank - 1 if along_rows else rank - 2,)


def _moves_batch(node: ir.Node) -> bool:
    flags = ("transBatchA", "transBatchB")
    return any(node.attributes.get_int(flag, 0) != 0 for flag in flags)


def _attention_axes(_: ir.Node, index: int, rank: int) -> tuple[int, ...] | None:
    """(in, queries + keys + values)."""
    if index != 1 or rank != MATRIX:
        return None
    return (0,)


FUSED_AXES: dict[str, SummedAxes] = {
    "Attention": _attention_axes,
    "FusedConv": _conv_axes,
    "FusedGemm": _gemm_axes,
    "FusedMatMul": _fused_matmul_axes,
    "TransposeMatMul": _fused_matmul_axes,
}
"""As ``SUMMED_AXES``, of ONNX Runtime's own operators, which only storage of weights supports.

Source: ONNX Runtime, "Contrib operators".
"""

_LIKE = {
    "Attention": "MatMul",
    "FusedConv": "Conv",
    "FusedGemm": "Gemm",
    "FusedMatMul": "MatMul",
    "TransposeMatMul": "MatMul",
}


def stored(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The stored tensor behind a value: an initializer or the output of a Constant."""
    if value is None or value.is_graph_input():
        return None
    return stored_tensor(value)


def before_casts(value: ir.Value | None) -> ir.Value | None:
    """The stored value that a Cast converts to what an operator reads; else the value itself."""
    source = value
    while source is not None and stored(source) is None:
        maker = source.producer()
        if maker is None or not is_standard(maker, "Cast", "Identity"):
            return value
        source = maker.inputs[0]
    return source


def role_tensor(role: Role) -> ir.TensorProtocol | None:
    """The stored tensor of a role's weight."""
    return stored(before_casts(role.node.inputs[role.index]))


def constant_values(graph: ir.Model) -> set[int]:
    """Identities of values computed from stored ones only; inputs with a stored default count."""
    defaults = graph.graph.initializers.values()
    constants = {id(value) for value in defaults if value.is_graph_input()}
    for node in nodes(graph):
        inputs = [value for value in node.inputs if value is not None]
        if inputs and all(id(value) in constants or stored(value) is not None for value in inputs):
            constants.update(map(id, node.outputs))
    return constants


def weight_roles(graph: ir.Model, *, fused: bool = False) -> Iterator[tuple[Role, ir.Value | None]]:
    """Every weight input of every operator, with the value it reads, stored or computed.

    Args:
        graph: the model.
        fused: whether weights of ONNX Runtime's own operators, and those that a Cast converts, are
            listed too.
    """
    names = UniqueNames(graph)
    for node in nodes(graph):
        find = _rule(node, fused=fused)
        if find is None:
            continue
        for index, read in enumerate(node.inputs):
            value = before_casts(read) if fused else read
            tensor = stored(value)
            rank = len(tensor.shape) if tensor is not None else MATRIX
            axes = find(node, index, rank)
            if axes is not None:
                yield Role(node, index, rank, axes, names, _is_observed(node, index)), value


def _rule(node: ir.Node, *, fused: bool) -> SummedAxes | None:
    if is_standard(node):
        return SUMMED_AXES.get(node.op_type)
    if fused and node.domain == MICROSOFT:
        return FUSED_AXES.get(node.op_type)
    return None


def _is_observed(node: ir.Node, index: int) -> bool:
    """Check that the other operand of a product of ONNX Runtime's own is read as it is."""
    if node.domain != MICROSOFT:
        return True
    return index == 1 and node.attributes.get_int("transA", 0) == 0
