"""Reference of DynamicQuantizeLSTM whose integer products are exact: a Scan over the steps.

The range of the inputs is that of all steps together, the range of the state that of each step.
Source: ONNX Runtime's ContribOperators.md (com.microsoft.DynamicQuantizeLSTM), and its kernel,
onnxruntime/contrib_ops/cpu/quantization/dynamic_quantize_lstm.cc; the ONNX operator LSTM-7.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from packlight.model import optional_input
from packlight.runtime.exact_sums import (
    Operands,
    UnsizedError,
    cast_to,
    constant_value,
    matmul_sum,
    scale_sum,
    static_shape,
)

GATES = 4
BIAS = 3
STATES = {"h": 5, "c": 6}
W_SCALE = 8
W_ZERO = 9
R_SCALE = 10
R_ZERO = 11
UNSUPPORTED_INPUTS = (4, 7)
"""Lengths of sequences, which change the range of the inputs, and peepholes."""

PLAIN_ATTRIBUTES = ("direction", "hidden_size")


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of an operator.

    Attributes:
        tape: where the operators go.
        node: the operator.
        index: of the direction.
        hidden: numbers of a state.
        backward: whether it runs from the last step to the first.
    """

    tape: Tape
    node: ir.Node
    index: int
    hidden: int
    backward: bool

    def part(self, place: int) -> ir.Value | None:
        """The part of an input that belongs to this direction."""
        value = optional_input(self.node, place)
        if value is None:
            return None
        index = constant_value(self.tape, np.array(self.index, np.int64))
        return self.tape.op("Gather", [value, index], {"axis": 0})

    def gates(self, codes: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
        """What the inputs and the biases give to all gates, (steps, batch, 4 x hidden)."""
        total = matmul_sum(self.tape, Operands(codes, self.part(1), zero, self.part(W_ZERO)))
        real = scale_sum(self.tape, total, scale, self.part(W_SCALE))
        gates = cast_to(self.tape, real, ir.DataType.FLOAT)
        bias = self.part(BIAS)
        if bias is None:
            return gates
        ends = (0, GATES * self.hidden, 2 * GATES * self.hidden)
        halves = [_cut(self.tape, bias, start, end) for start, end in pairwise(ends)]
        return self.tape.op("Add", [gates, self.tape.op("Add", halves)])

    def start(self, name: str) -> ir.Value:
        """A state before the first step, (batch, hidden)."""
        given = self.part(STATES[name])
        if given is not None:
            return given
        tape = self.tape
        batch = _cut(tape, tape.op("Shape", [self.node.inputs[0]]), 1, 2)
        width = constant_value(tape, np.array([self.hidden], np.int64))
        shape = tape.op("Concat", [batch, width], {"axis": 0})
        return tape.op("Expand", [constant_value(tape, np.zeros((1, 1), np.float32)), shape])

    def run(self, codes: ir.Value, scale: ir.Value, zero: ir.Value) -> list[ir.Value]:
        """States of all steps, and the last state and cell."""
        recurrence = [self.part(place) for place in (2, R_SCALE, R_ZERO)]
        inputs = [self.start("h"), self.start("c"), self.gates(codes, scale, zero)]
        body = _step(f"{self.node.name}.{self.index}", self.hidden, recurrence)
        backward = int(self.backward)
        attributes: dict[str, ir.Graph | int | list[int]] = {
            "body": body,
            "num_scan_inputs": 1,
            "scan_input_directions": [backward],
            "scan_output_directions": [backward],
        }
        last, cell, steps = self.tape.op_multi_out("Scan", inputs, attributes, num_outputs=3)
        return [
            self.reshaped(steps, (0, 1, -1, self.hidden)),
            *(self.reshaped(value, (1, -1, self.hidden)) for value in (last, cell)),
        ]

    def reshaped(self, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        """The value with an axis for the direction."""
        return self.tape.op("Reshape", [value, constant_value(self.tape, np.array(shape))])


def dynamic_quantize_lstm(tape: Tape, node: ir.Node) -> list[ir.Value]:
    """States of all steps, the last states and the last cells, each with an axis of directions.

    Raises:
        UnsizedError: the operator has an input or an attribute that the reference lacks.
    """
    if any(optional_input(node, place) is not None for place in UNSUPPORTED_INPUTS):
        raise UnsizedError
    if not set(node.attributes) <= set(PLAIN_ATTRIBUTES):
        raise UnsizedError
    weight = node.inputs[2]
    shape = static_shape(weight) if weight is not None else None
    if shape is None:
        raise UnsizedError
    way = node.attributes.get_string("direction", "forward")
    backward = {"forward": (False,), "reverse": (True,)}.get(way, (False, True))
    codes, scale, zero = tape.op_multi_out("DynamicQuantizeLinear", [node.inputs[0]], num_outputs=3)
    runs = [
        Direction(tape, node, index, shape[1], turned).run(codes, scale, zero)
        for index, turned in enumerate(backward)
    ]
    if len(runs) == 1:
        return runs[0]
    axes = (1, 0, 0)
    return [
        tape.op("Concat", list(parts), {"axis": axis})
        for parts, axis in zip(zip(*runs, strict=True), axes, strict=True)
    ]


def _step(name: str, hidden: int, recurrence: list[ir.Value | None]) -> ir.Graph:
    """One step: the state in codes of its own range, and the gates; order i, o, f, c."""
    tape = Tape()
    state, cell, gates = (
        ir.Value(name=f"{name}.{part}", type=ir.TensorType(ir.DataType.FLOAT))
        for part in ("state", "cell", "gates")
    )
    weight, weight_scale, weight_zero = recurrence
    codes, scale, zero = tape.op_multi_out("DynamicQuantizeLinear", [state], num_outputs=3)
    total = matmul_sum(tape, Operands(codes, weight, zero, weight_zero))
    real = cast_to(tape, scale_sum(tape, total, scale, weight_scale), ir.DataType.FLOAT)
    sums = tape.op("Add", [gates, real])
    inlet, outlet, forget, candidate = (
        _cut(tape, sums, hidden * gate, hidden * (gate + 1), axis=-1) for gate in range(GATES)
    )
    kept = tape.op("Mul", [tape.op("Sigmoid", [forget]), cell])
    new = tape.op("Mul", [tape.op("Sigmoid", [inlet]), tape.op("Tanh", [candidate])])
    next_cell = tape.op("Add", [kept, new])
    next_state = tape.op("Mul", [tape.op("Sigmoid", [outlet]), tape.op("Tanh", [next_cell])])
    shown = tape.op("Identity", [next_state])
    results = [next_state, next_cell, shown]
    for index, node in enumerate(tape.nodes):
        node.name = f"{name}.step.{index}"
        for slot, value in enumerate(node.outputs):
            value.name = f"{name}.step.{index}.{slot}"
    for value in results:
        value.type = ir.TensorType(ir.DataType.FLOAT)
    return ir.Graph([state, cell, gates], results, nodes=tape.nodes, name=f"{name}.step")


def _cut(tape: Tape, value: ir.Value, start: int, end: int, axis: int = 0) -> ir.Value:
    edges = [constant_value(tape, np.array([edge], np.int64)) for edge in (start, end, axis)]
    return tape.op("Slice", [value, *edges])
