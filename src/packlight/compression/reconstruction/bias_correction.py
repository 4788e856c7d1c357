"""Biases that take up what rounding a weight does to the means of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.unique_names import Names
from packlight.compression.sites.weight_roles import Role, is_standard, stored
from packlight.model import owning_graph

Doubles = NDArray[np.float64]
BIAS = {"Conv": 2, "Gemm": 2, "LSTM": 3, "RNN": 3, "GRU": 3}
"""Which input the bias is."""

GATED = ("LSTM", "GRU", "RNN")
INPUT_WEIGHT = 1


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
    names: Names
    start: int = 0
    factor: float = 1.0

    @property
    def value(self) -> ir.Value | None:
        """What the operator reads there; None where it has no bias yet."""
        return self.node.inputs[self.index] if len(self.node.inputs) > self.index else None

    def shift(self, by: Doubles) -> None:
        """Add to the bias, in place; it is made where there is none.

        It stays what it is where its numbers would leave float32.

        Args:
            by: (groups, out) of the weight's matrices.
        """
        before, tensor = self.value, stored(self.value)
        array = tensor.numpy().astype(np.float64) if tensor else np.zeros(self.outputs)
        rows = len(by) if self.node.op_type in GATED else 1
        part = array.reshape(rows, -1)[:, self.start : self.start + by.size // rows]
        part += self.factor * by.reshape(rows, -1)
        if np.abs(array).max(initial=0.0) > np.finfo(np.float32).max:
            return
        self.put(before, array)

    @property
    def is_new(self) -> bool:
        """Whether a shift needs a stored value of its own: there is none, or others see it."""
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
        """What a stored value of its own is called, and nothing else from now on."""
        return self.names.fresh(f"{self.node.name}.bias", "_shifted")

    def put(self, before: ir.Value | None, array: Doubles) -> None:
        """Let the operator read another bias, under the name of its own where it has one."""
        if before is not None and not self.is_new:
            before.const_value = ir.Tensor(array.astype(np.float32), name=before.name)
            return
        graph, name = self.graph, self.fresh_name()
        value = ir.Value(name=name, const_value=ir.Tensor(array.astype(np.float32), name=name))
        graph.register_initializer(value)
        self.node.resize_inputs(max(len(self.node.inputs), self.index + 1))
        self.node.replace_input_with(self.index, value)


def bias(role: Role, outputs: int) -> Bias | None:
    """The bias that adds to what a weight gives; None where nothing stored is added.

    Args:
        role: of the weight.
        outputs: that it has.
    """
    make = FINDERS.get(role.node.op_type)
    return make(role, outputs) if make else None


def own(role: Role, outputs: int) -> Bias | None:
    """Of a Conv or Gemm, which has a place for one."""
    node = role.node
    index = BIAS[node.op_type]
    beta, given = node.attributes.get_float("beta", 1.0), node.inputs[index:][:1]
    if beta == 0 or not all(value is None or in_row(value, outputs) for value in given):
        return None
    factor = node.attributes.get_float("alpha", 1.0) / beta
    return Bias(node, index, outputs, role.names, factor=factor)


def added(role: Role, outputs: int) -> Bias | None:
    """Of the Add right behind a product, if its last axis is that of the weight's outputs."""
    output, weight = role.node.outputs[0], stored(role.node.inputs[role.index])
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
    given = node.inputs[index]
    return Bias(node, index, outputs, role.names) if in_row(given, outputs) else None


def of_gates(role: Role, outputs: int) -> Bias | None:
    """Of a recurrent operator, for what its inputs give."""
    node, index = role.node, BIAS[role.node.op_type]
    given = node.inputs[index] if len(node.inputs) > index else None
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    if role.index != INPUT_WEIGHT or numbers(given) != 2 * outputs:
        return None
    assert outputs % directions == 0
    return Bias(node, index, outputs, role.names)


def in_row(value: ir.Value | None, outputs: int) -> bool:
    """Whether a number for each output is stored along the last axis."""
    tensor = stored(value)
    along = tensor is not None and tensor.shape.numpy()[-1:] == (outputs,)
    return along and numbers(value) == outputs


def numbers(value: ir.Value | None) -> int:
    """How many float32 numbers are stored; 0 where none are."""
    tensor = stored(value)
    return tensor.size if tensor is not None and tensor.dtype == ir.DataType.FLOAT else 0


FINDERS: dict[str, Callable[[Role, int], Bias | None]] = {
    "Conv": own,
    "Gemm": own,
    "MatMul": added,
    "LSTM": of_gates,
    "GRU": of_gates,
    "RNN": of_gates,
}
