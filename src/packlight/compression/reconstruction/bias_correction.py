"""Bias correction: biases take up what rounding a weight does to the means of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import UniqueNames
from packlight.compression.sites.weight_roles import (
    Role,
    before_casts,
    is_standard,
    role_tensor,
    stored,
)
from packlight.model import owning_graph, producer_of

Doubles = NDArray[np.float64]
BIAS_INPUT = {"Conv": 2, "Gemm": 2, "LSTM": 3, "RNN": 3, "GRU": 3}
"""Index of the bias among the inputs."""

LARGEST = {
    ir.DataType.FLOAT: float(np.finfo(np.float32).max),
    ir.DataType.FLOAT16: float(np.finfo(np.float16).max),
    ir.DataType.DOUBLE: float(np.finfo(np.float32).max),
}
"""Largest number of a bias by the type that it is stored in."""

RECURRENT = ("LSTM", "GRU", "RNN")
INPUT_WEIGHT = 1
MAX_WEIGHT_INPUTS = 3
"""Inputs among which the weights of an operator are."""


@dataclass(frozen=True, slots=True)
class Bias:
    """A stored bias that can take up a shift of the outputs of one weight.

    Attributes:
        node: that reads it.
        index: which input it is.
        outputs: how many shifts there are.
        names: of the model's values, of which a new one's must differ.
        start: in the last axis, where they begin.
        factor: what a shift is multiplied with.
    """

    node: ir.Node
    index: int
    outputs: int
    names: UniqueNames
    start: int = 0
    factor: float = 1.0

    @property
    def value(self) -> ir.Value | None:
        """The value that the operator reads there; None where it has no bias yet."""
        return _input_at(self.node, self.index)

    def shift(self, by: Doubles) -> None:
        """Add to the bias, in place; it is made where there is none.

        It stays what it is where its numbers would leave the range of its type.

        Args:
            by: (groups, out) of the weight's matrices.
        """
        before = self.value
        tensor = stored(before)
        array = np.zeros(self.outputs)
        if tensor:
            array = tensor.numpy().astype(np.float64)
        rows = len(by) if self.node.op_type in RECURRENT else 1
        part = array.reshape(rows, -1)[:, self.start : self.start + by.size // rows]
        part += self.factor * by.reshape(rows, -1)
        if np.abs(array).max(initial=0.0) > LARGEST[self.dtype]:
            return
        self.put(before, array)

    @property
    def dtype(self) -> ir.DataType:
        """Type of the numbers that are added: that of the bias, or of the weight."""
        tensor = stored(self.value)
        return _computed_type(self.node) if tensor is None else tensor.dtype

    @property
    def is_new(self) -> bool:
        """True where a shift needs a new stored value: there is none, or it has other readers."""
        before = self.value
        if before is None or before.producer() is not None:
            return True
        return len(before.uses()) != 1 or before.is_graph_output()

    @property
    def graph(self) -> ir.Graph:
        """That stores the bias, or will."""
        graph = self.node.graph if self.value is None else owning_graph(self.value)
        assert isinstance(graph, ir.Graph)
        return graph

    def fresh_name(self) -> str:
        """An unused name for a new stored value."""
        return self.names.fresh(f"{self.node.name}.bias", "_shifted")

    def put(self, before: ir.Value | None, array: Doubles) -> None:
        """Let the operator read another bias, under the old name where nothing else reads it."""
        dtype = self.dtype
        numbers = array.astype(dtype.numpy())
        if before is not None and not self.is_new:
            before.const_value = ir.Tensor(numbers, dtype=dtype, name=before.name)
            return
        graph = self.graph
        name = self.fresh_name()
        value = ir.Value(name=name, const_value=ir.Tensor(numbers, dtype=dtype, name=name))
        graph.register_initializer(value)
        self.node.resize_inputs(max(len(self.node.inputs), self.index + 1))
        self.node.replace_input_with(self.index, value)


def _input_at(node: ir.Node, index: int) -> ir.Value | None:
    return next(iter(node.inputs[index:]), None)


def bias_of(role: Role, outputs: int) -> Bias | None:
    """The bias that is added to the outputs of a weight; None where nothing stored is added.

    Args:
        role: of the weight.
        outputs: that it has.
    """
    node = role.node
    find = BIAS_FINDERS.get(node.op_type)
    if find is None or not is_standard(node) or _computed_type(node) not in LARGEST:
        return None
    return find(role, outputs)


def _computed_type(node: ir.Node) -> ir.DataType:
    """Type of the stored weight of an operator, as it reads it."""
    for value in node.inputs[:MAX_WEIGHT_INPUTS]:
        tensor = stored(value)
        maker = producer_of(value)
        if tensor is not None:
            return tensor.dtype
        if maker is not None and maker.op_type == "Cast" and stored(before_casts(value)):
            return ir.DataType(maker.attributes.get_int("to", ir.DataType.FLOAT))
    return ir.DataType.FLOAT


def _input_bias(role: Role, outputs: int) -> Bias | None:
    """Bias of a Conv or Gemm, which has an input for one."""
    node = role.node
    index = BIAS_INPUT[node.op_type]
    value = _input_at(node, index)
    beta = node.attributes.get_float("beta", 1.0)
    if beta == 0 or not (value is None or _is_row(value, outputs)):
        return None
    factor = node.attributes.get_float("alpha", 1.0) / beta
    return Bias(node, index, outputs, role.names, factor=factor)


def _added_bias(role: Role, outputs: int) -> Bias | None:
    """Bias in the Add right behind a product, if its last axis is that of the outputs."""
    output = role.node.outputs[0]
    weight = role_tensor(role)
    readers = list(output.consumers())
    assert weight is not None, "products whose weight is computed are no sites"
    if role.index != INPUT_WEIGHT or weight.shape.numpy()[-1] != outputs:
        return None
    if len(readers) != 1 or output.is_graph_output():
        return None
    node = readers[0]
    if not is_standard(node, "Add") or node.graph is not role.node.graph:
        return None
    index = 1 - list(node.inputs).index(output)
    if not _is_row(node.inputs[index], outputs):
        return None
    return Bias(node, index, outputs, role.names)


def _gate_bias(role: Role, outputs: int) -> Bias | None:
    """Bias of a recurrent operator for the products of its inputs."""
    node = role.node
    index = BIAS_INPUT[node.op_type]
    bidirectional = node.attributes.get_string("direction", "forward") == "bidirectional"
    directions = 1 + bidirectional
    if role.index != INPUT_WEIGHT or _float_count(_input_at(node, index)) != 2 * outputs:
        return None
    assert outputs % directions == 0
    return Bias(node, index, outputs, role.names)


def _is_row(value: ir.Value | None, outputs: int) -> bool:
    tensor = stored(value)
    along = tensor is not None and tensor.shape.numpy()[-1:] == (outputs,)
    return along and _float_count(value) == outputs


def _float_count(value: ir.Value | None) -> int:
    tensor = stored(value)
    if tensor is None or tensor.dtype not in LARGEST:
        return 0
    return tensor.size


BIAS_FINDERS: dict[str, Callable[[Role, int], Bias | None]] = {
    "Conv": _input_bias,
    "Gemm": _input_bias,
    "MatMul": _added_bias,
    "LSTM": _gate_bias,
    "GRU": _gate_bias,
    "RNN": _gate_bias,
}
