"""Recurrent layers, unrolled: a step for each moment, with their state as inputs and outputs.

LiteRT's own operator keeps its state in the interpreter, where no caller can set it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from packlight.exporting.litert.flatbuffer import Array, Tensor
from packlight.exporting.litert.lowering import Function, Lowering, Result
from packlight.exporting.litert.operators.products import fully_connected
from packlight.exporting.litert.stored import is_coded, sliced
from packlight.exporting.litert.values import (
    Operator,
    Value,
    stored_value,
    value_of,
)
from packlight.exporting.unrolled import (
    GATES,
    STATES,
    activations_of,
    biases_of,
    check_unrolled,
    directions_of,
)

KERNELS = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU"}

Step = Callable[[Tensor, list[Tensor]], list[Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """Weights of one direction.

    Attributes:
        weight: of the inputs (gates * hidden, inputs).
        recurrence: of the state (gates * hidden, hidden).
        bias: of the inputs (gates * hidden).
        state_bias: of the state (gates * hidden).
        hidden: size of the state.
        activations: kernels of the gates.
        index: 0 forward, 1 backward of a layer that goes both ways.
    """

    weight: Tensor
    recurrence: Value
    bias: Array
    state_bias: Array
    hidden: int
    activations: Sequence[str]
    index: int


def _recurrent(lowering: Lowering, op: Operator) -> Result:
    check_unrolled(op)
    finals: list[list[Tensor]] = []
    sequences: list[list[Tensor]] = []
    for index, backward in enumerate(directions_of(op)):
        direction = _direction(lowering, op, index)
        steps, state = _run(lowering, op, direction, backward=backward)
        sequences.append(steps)
        finals.append(state)
    return _outputs(lowering, op, sequences, finals)


def _direction(lowering: Lowering, op: Operator, index: int) -> Direction:
    activations = activations_of(op, index, KERNELS)
    return Direction(
        lowering.form(_matrix(op.input(1), index)),
        _matrix(op.input(2), index),
        *biases_of(op, index),
        op.input(2).shape[-1],
        [KERNELS[name] for name in activations],
        index,
    )


def _matrix(value: Value, index: int) -> Value:
    """The matrix of one direction, with its encoding."""
    shape = value.shape[1:]
    if is_coded(value.weight):
        assert value.weight is not None
        return Value(value.name, shape, value.dtype, weight=sliced(value.weight, index))
    return stored_value(value.name, value.numbers()[index])


def _rows(lowering: Lowering, matrix: Value, begin: int, end: int) -> Tensor:
    """Rows of a matrix."""
    if matrix.array is not None:
        return lowering.constant(matrix.array[begin:end])
    return lowering.slice(lowering.form(matrix), (begin, 0), (end - begin, matrix.shape[1]))


def _run(
    lowering: Lowering, op: Operator, direction: Direction, *, backward: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs of each moment (batch, hidden), in order, and the last state."""
    x = op.input(0)
    length, batch, _ = x.shape
    step, bias = STEPS[op.op_type](lowering, op, direction)
    rows = lowering.constant(bias)
    flat = lowering.reshape(lowering.form(x), (length * batch, x.shape[2]))
    inputs = fully_connected(lowering, flat, direction.weight, rows)
    state = _initial(lowering, op, direction, batch)
    moments = list(range(length))
    if backward:
        moments.reverse()
    outputs: list[Tensor] = []
    for moment in moments:
        part = lowering.slice(inputs, (moment * batch, 0), (batch, inputs.shape[1]))
        state = step(part, state)
        outputs.append(state[0])
    if backward:
        outputs.reverse()
    return outputs, state


def _initial(lowering: Lowering, op: Operator, direction: Direction, batch: int) -> list[Tensor]:
    state = []
    for index in range(STATES[op.op_type]):
        value = op.optional(5 + index)
        if value is None:
            state.append(lowering.constant(np.zeros((batch, direction.hidden))))
            continue
        tensor = lowering.form(value)
        begin = (direction.index, 0, 0)
        part = lowering.slice(tensor, begin, (1, *tensor.shape[1:]))
        state.append(lowering.reshape(part, tensor.shape[1:]))
    return state


def _outputs(
    lowering: Lowering,
    op: Operator,
    sequences: list[list[Tensor]],
    finals: list[list[Tensor]],
) -> Result:
    """Y (steps, directions, batch, hidden), and each state (directions, batch, hidden)."""
    batch, hidden = sequences[0][0].shape
    results = []
    if op.node.outputs[0].uses() or op.node.outputs[0].is_graph_output():
        rows = [
            lowering.reshape(steps[moment], (1, batch, hidden))
            for moment in range(len(sequences[0]))
            for steps in sequences
        ]
        joined = lowering.concatenate(rows, 0)
        shape = (len(sequences[0]), len(sequences), batch, hidden)
        results.append(value_of("", lowering.reshape(joined, shape)))
    else:
        results.append(value_of("", sequences[0][0]))
    for index in range(len(finals[0])):
        parts = [lowering.reshape(state[index], (1, batch, hidden)) for state in finals]
        results.append(value_of("", lowering.concatenate(parts, 0)))
    return tuple(results[: len(op.node.outputs)])


def _lstm(lowering: Lowering, op: Operator, direction: Direction) -> tuple[Step, Array]:
    size = direction.hidden
    gate, candidate, output_gate = direction.activations
    recurrence = lowering.form(direction.recurrence)
    peepholes = op.optional(7)
    peeps: list[Tensor] = []
    if peepholes is not None:
        rows = peepholes.numbers()[direction.index].reshape(3, size)
        peeps = [lowering.constant(row) for row in rows]

    def step(part: Tensor, state: list[Tensor]) -> list[Tensor]:
        hidden, cell = state
        product = fully_connected(lowering, hidden, recurrence, None)
        total = lowering.binary("ADD", part, product)
        gates = [_gate(lowering, total, index, size) for index in range(4)]
        if peeps:
            gates[0] = _plus(lowering, gates[0], cell, peeps[0])
            gates[2] = _plus(lowering, gates[2], cell, peeps[2])
        kept = lowering.binary("MUL", lowering.unary(gate, gates[2]), cell)
        fresh = lowering.unary(candidate, gates[3])
        added = lowering.binary("MUL", lowering.unary(gate, gates[0]), fresh)
        cell = lowering.binary("ADD", kept, added)
        if peeps:
            gates[1] = _plus(lowering, gates[1], cell, peeps[1])
        opened = lowering.unary(gate, gates[1])
        hidden = lowering.binary("MUL", opened, lowering.unary(output_gate, cell))
        return [hidden, cell]

    return step, direction.bias + direction.state_bias


def _gate(lowering: Lowering, total: Tensor, index: int, size: int) -> Tensor:
    return lowering.slice(total, (0, index * size), (total.shape[0], size))


def _plus(lowering: Lowering, gate: Tensor, cell: Tensor, weight: Tensor) -> Tensor:
    return lowering.binary("ADD", gate, lowering.binary("MUL", cell, weight))


def _gru(lowering: Lowering, op: Operator, direction: Direction) -> tuple[Step, Array]:
    size = direction.hidden
    gate, candidate = direction.activations
    early = _rows(lowering, direction.recurrence, 0, 2 * size)
    late = _rows(lowering, direction.recurrence, 2 * size, 3 * size)
    early_bias = lowering.constant(direction.state_bias[: 2 * size])
    late_bias = lowering.constant(direction.state_bias[2 * size :])
    linear_first = bool(op.integer("linear_before_reset"))

    def step(part: Tensor, state: list[Tensor]) -> list[Tensor]:
        hidden = state[0]
        gated = fully_connected(lowering, hidden, early, early_bias)
        both = lowering.binary(
            "ADD", lowering.slice(part, (0, 0), (part.shape[0], 2 * size)), gated
        )
        update = lowering.unary(gate, _gate(lowering, both, 0, size))
        reset = lowering.unary(gate, _gate(lowering, both, 1, size))
        if linear_first:
            product = fully_connected(lowering, hidden, late, late_bias)
            product = lowering.binary("MUL", reset, product)
        else:
            product = lowering.binary("MUL", reset, hidden)
            product = fully_connected(lowering, product, late, late_bias)
        fresh = lowering.binary("ADD", _gate(lowering, part, 2, size), product)
        fresh = lowering.unary(candidate, fresh)
        change = lowering.binary("MUL", update, lowering.binary("SUB", hidden, fresh))
        return [lowering.binary("ADD", fresh, change)]

    return step, direction.bias


def _simple(lowering: Lowering, op: Operator, direction: Direction) -> tuple[Step, Array]:
    recurrence = lowering.form(direction.recurrence)

    def step(part: Tensor, state: list[Tensor]) -> list[Tensor]:
        product = fully_connected(lowering, state[0], recurrence, None)
        total = lowering.binary("ADD", part, product)
        return [lowering.unary(direction.activations[0], total)]

    return step, direction.bias + direction.state_bias


STEPS: Mapping[str, Callable[[Lowering, Operator, Direction], tuple[Step, Array]]] = {
    "GRU": _gru,
    "LSTM": _lstm,
    "RNN": _simple,
}

RECURRENT: Mapping[str, Function] = dict.fromkeys(GATES, _recurrent)
