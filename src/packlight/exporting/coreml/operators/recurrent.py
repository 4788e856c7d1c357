"""Recurrent layers, unrolled: a step for each moment, with the encodings of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from packlight.exporting.coreml.lowering import (
    Array,
    Function,
    Lowering,
    Operator,
    Result,
    Value,
    Var,
)
from packlight.exporting.operator_view import UnsupportedError
from packlight.exporting.unrolled import (
    GATES,
    STATES,
    activations_of,
    biases_of,
    check_unrolled,
    directions_of,
)
from packlight.exporting.weights import (
    Encoding,
    FloatWeight,
    PaletteWeight,
    SparseWeight,
    StoredWeight,
)

PEEPHOLES = 7
"""Input of an LSTM."""

KERNELS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}
Step = Callable[[Var, list[Var]], list[Var]]


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """Weights of one direction.

    Attributes:
        weight: of the inputs (gates * hidden, inputs).
        recurrence: of the state (gates * hidden, hidden).
        bias: of the inputs (gates * hidden).
        state_bias: of the state (gates * hidden).
        hidden: size of the state.
        activations: operators of the gates.
        index: 0 forward, 1 backward of a layer that goes both ways.
    """

    weight: Var
    recurrence: Var
    bias: Array
    state_bias: Array
    hidden: int
    activations: Sequence[str]
    index: int


def _recurrent(lowering: Lowering, op: Operator) -> Result:
    check_unrolled(op)
    if op.optional(PEEPHOLES) is not None:
        raise UnsupportedError("peepholes")
    sequences: list[list[Var]] = []
    finals: list[list[Var]] = []
    for index, backward in enumerate(directions_of(op)):
        direction = _direction(lowering, op, index)
        outputs, state = _run(lowering, op, direction, backward=backward)
        sequences.append(outputs)
        finals.append(state)
    return _outputs(lowering, op, sequences, finals)


def _direction(lowering: Lowering, op: Operator, index: int) -> Direction:
    activations = activations_of(op, index, KERNELS)
    return Direction(
        lowering.var(_matrix(op.input(1), index)),
        lowering.var(_matrix(op.input(2), index)),
        *biases_of(op, index),
        op.input(2).shape[-1],
        [KERNELS[name] for name in activations],
        index,
    )


def _matrix(value: Value, index: int) -> Value:
    """The matrix of one direction, with its encoding where one axis can be left out of it."""
    weight = value.weight
    shape = value.shape[1:]
    if weight is None or not weight.is_in_layout:
        return Value(value.name, shape, array=np.asarray(value.numbers())[index])
    part = _part(weight.encoding, index)
    return Value(value.name, shape, weight=StoredWeight(value.name, part, shape, weight.dtype))


def _part(encoding: Encoding, index: int) -> Encoding:
    """One element of the first axis of a weight, as it is encoded."""
    if isinstance(encoding, SparseWeight):
        values = _part(encoding.values, index)
        assert not isinstance(values, SparseWeight)
        return SparseWeight(encoding.mask[index], values)
    if isinstance(encoding, FloatWeight):
        return FloatWeight(encoding.array[index])
    if isinstance(encoding, PaletteWeight):
        table = encoding.table.at(index)
        factors = encoding.scale and encoding.scale.at(index)
        return PaletteWeight(encoding.indices[index], table, factors, encoding.bits)
    return encoding.with_shared(encoding.codes[index], lambda shared: shared.at(index))


def _product(lowering: Lowering, x: Var, matrix: Var) -> Var:
    return lowering.product(x, matrix, transpose_y=True)


def _run(
    lowering: Lowering, op: Operator, direction: Direction, *, backward: bool
) -> tuple[list[Var], list[Var]]:
    """Outputs of each moment (batch, hidden), in order, and the last state."""
    length, batch, size = op.input(0).shape
    step, bias = STEPS[op.op_type](lowering, direction, op)
    flat = lowering.op("reshape", x=lowering.var(op.input(0)), shape=[length * batch, size])
    inputs = _product(lowering, flat, direction.weight)
    inputs = lowering.op("add", x=inputs, y=lowering.array(bias))
    state = _initial(lowering, op, direction, batch)
    moments = list(range(length))
    if backward:
        moments.reverse()
    outputs: list[Var] = []
    for moment in moments:
        part = inputs
        if length > 1:
            width = int(inputs.shape[1])
            part = lowering.op(
                "slice_by_size", x=inputs, begin=[moment * batch, 0], size=[batch, width]
            )
        state = step(part, state)
        outputs.append(state[0])
    if backward:
        outputs.reverse()
    return outputs, state


def _initial(lowering: Lowering, op: Operator, direction: Direction, batch: int) -> list[Var]:
    state = []
    for index in range(STATES[op.op_type]):
        value = op.optional(5 + index)
        if value is None:
            state.append(lowering.array(np.zeros((batch, direction.hidden))))
            continue
        begin = [direction.index, 0, 0]
        part = lowering.op(
            "slice_by_size", x=lowering.var(value), begin=begin, size=[1, *value.shape[1:]]
        )
        state.append(lowering.op("reshape", x=part, shape=list(value.shape[1:])))
    return state


def _outputs(
    lowering: Lowering, op: Operator, sequences: list[list[Var]], finals: list[list[Var]]
) -> Result:
    """Y (steps, directions, batch, hidden), and each state (directions, batch, hidden)."""
    moments = [
        lowering.op("stack", values=[steps[moment] for steps in sequences], axis=0)
        for moment in range(len(sequences[0]))
    ]
    results = [lowering.op("stack", values=moments, axis=0)]
    results += [
        lowering.op("stack", values=[state[index] for state in finals], axis=0)
        for index in range(len(finals[0]))
    ]
    return tuple(results[: len(op.node.outputs)])


def _gate(lowering: Lowering, total: Var, index: int, size: int, count: int = 1) -> Var:
    return lowering.op(
        "slice_by_size", x=total, begin=[0, index * size], size=[int(total.shape[0]), count * size]
    )


def _lstm(lowering: Lowering, direction: Direction, op: Operator) -> tuple[Step, Array]:
    size = direction.hidden
    gate, candidate, output_gate = direction.activations

    def step(part: Var, state: list[Var]) -> list[Var]:
        hidden, cell = state
        total = lowering.op("add", x=part, y=_product(lowering, hidden, direction.recurrence))
        entry, exit_, forget = (
            lowering.op(gate, x=_gate(lowering, total, index, size)) for index in range(3)
        )
        fresh = lowering.op(candidate, x=_gate(lowering, total, 3, size))
        kept = lowering.op("mul", x=forget, y=cell)
        cell = lowering.op("add", x=kept, y=lowering.op("mul", x=entry, y=fresh))
        hidden = lowering.op("mul", x=exit_, y=lowering.op(output_gate, x=cell))
        return [hidden, cell]

    return step, direction.bias + direction.state_bias


def _gru(lowering: Lowering, direction: Direction, op: Operator) -> tuple[Step, Array]:
    size = direction.hidden
    gate, candidate = direction.activations
    bias = lowering.array(direction.state_bias)
    linear_first = bool(op.integer("linear_before_reset"))

    def step(part: Var, state: list[Var]) -> list[Var]:
        hidden = state[0]
        product = _product(lowering, hidden, direction.recurrence)
        product = lowering.op("add", x=product, y=bias)
        both = lowering.op(
            "add", x=_gate(lowering, part, 0, size, 2), y=_gate(lowering, product, 0, size, 2)
        )
        update = lowering.op(gate, x=_gate(lowering, both, 0, size))
        reset = lowering.op(gate, x=_gate(lowering, both, 1, size))
        late = _gate(lowering, product, 2, size)
        if linear_first:
            late = lowering.op("mul", x=reset, y=late)
        else:
            again = _product(lowering, lowering.op("mul", x=reset, y=hidden), direction.recurrence)
            late = _gate(lowering, lowering.op("add", x=again, y=bias), 2, size)
        fresh = lowering.op("add", x=_gate(lowering, part, 2, size), y=late)
        fresh = lowering.op(candidate, x=fresh)
        change = lowering.op("sub", x=hidden, y=fresh)
        change = lowering.op("mul", x=update, y=change)
        return [lowering.op("add", x=fresh, y=change)]

    return step, direction.bias


def _simple(lowering: Lowering, direction: Direction, op: Operator) -> tuple[Step, Array]:
    def step(part: Var, state: list[Var]) -> list[Var]:
        product = _product(lowering, state[0], direction.recurrence)
        total = lowering.op("add", x=part, y=product)
        return [lowering.op(direction.activations[0], x=total)]

    return step, direction.bias + direction.state_bias


STEPS: Mapping[str, Callable[[Lowering, Direction, Operator], tuple[Step, Array]]] = {
    "GRU": _gru,
    "LSTM": _lstm,
    "RNN": _simple,
}

RECURRENT: Mapping[str, Function] = dict.fromkeys(GATES, _recurrent)
