"""A lowering of ONNX's GRU to Core AI, beside that of LSTM in coreai-onnx.

The recurrence runs as a ``coreai.while`` loop, one for each direction; the projection of all inputs
is computed before it.
Source: ONNX operator GRU-14: z, r and h gates, with ``linear_before_reset`` 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

Value = Any
GATES = 3
INTEGER = np.int32
ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction of a GRU.

    Attributes:
        coreai: the dialect's module.
        projected: X W^T with the biases that are added before any reset, (steps, batch, 3 hidden).
        recurrent: R^T (hidden, 3 hidden).
        reset_bias: bias of the hidden gate that the reset gate scales, (hidden,); None where it
            scales none.
        gate: activation of the gates z and r.
        state: activation of the new state.
        steps: of the sequence.
        batch: of the sequence.
        hidden: numbers of the state.
    """

    coreai: Any
    projected: Value
    recurrent: Value
    reset_bias: Value | None
    gate: Any
    state: Any
    steps: int
    batch: int
    hidden: int

    def next_state(self, inputs: Value, state: Value, *, linear: bool) -> Value:
        """The state after one step, (batch, hidden).

        Args:
            inputs: projected, (batch, 3 hidden).
            state: before it.
            linear: whether the reset gate scales the product instead of the state.
        """
        add = self.coreai.broadcasting_add
        multiply = self.coreai.broadcasting_mul
        product = self.coreai.broadcasting_batch_matmul
        sums = add(self.part(inputs, 0, 2), product(state, self.columns(0, 2)))
        update = self.gate(self.part(sums, 0, 1))
        reset = self.gate(self.part(sums, 1, 2))
        if linear:
            scaled = product(state, self.columns(2, 3))
            if self.reset_bias is not None:
                scaled = add(scaled, self.reset_bias)
            scaled = multiply(reset, scaled)
        else:
            scaled = product(multiply(reset, state), self.columns(2, 3))
        fresh = self.state(add(self.part(inputs, 2, 3), scaled))
        difference = self.coreai.broadcasting_sub(state, fresh)
        return add(fresh, multiply(update, difference))

    def part(self, value: Value, first: int, last: int) -> Value:
        """Columns of some gates, (batch, gates * hidden)."""
        return self.coreai.slice_(
            value, [0, first * self.hidden], [self.batch, last * self.hidden], [1, 1]
        )

    def columns(self, first: int, last: int) -> Value:
        """Columns of R^T of some gates."""
        return self.coreai.slice_(
            self.recurrent, [0, first * self.hidden], [self.hidden, last * self.hidden], [1, 1]
        )


def lower_gru(values: dict[str, Value], node: onnx.NodeProto, _location: Any) -> list[Value]:
    """Write a GRU; one result for each output that is read.

    Raises:
        ValueError: an attribute or input has no lowering.
    """
    from coreai_onnx import _ir  # noqa: PLC0415  an extra
    from coreai_onnx._lowerings import _recurrent as recurrent  # noqa: PLC0415
    from coreai_onnx._utils import attrs, operand, operands  # noqa: PLC0415

    coreai = _ir.coreai_dialect
    attributes = attrs(node)
    sequence, weight, recurrence = operands(values, node, [0, 1, 2])
    steps, batch, _ = sequence.type.shape
    count = DIRECTIONS[attributes.get("direction", "forward")]
    hidden = attributes.get("hidden_size", recurrence.type.shape[2])
    activations = _activations(attributes, count)
    recurrent._check_sequence_lens(values, node, steps)
    bias = operand(values, node, 3)
    initial = operand(values, node, 5)
    linear = bool(attributes.get("linear_before_reset", 0))
    rows = []
    lasts = []
    for index in range(count):
        projected, reset_bias = _projected(
            coreai, recurrent, sequence, weight, bias, index, hidden, linear=linear
        )
        cell = Cell(
            coreai,
            projected,
            recurrent._transposed(recurrent._per_direction(recurrence, index)),
            reset_bias,
            getattr(coreai, ACTIVATIONS[activations[2 * index]]),
            getattr(coreai, ACTIVATIONS[activations[2 * index + 1]]),
            steps,
            batch,
            hidden,
        )
        reverse = attributes.get("direction") == "reverse" or index == 1
        start = None if initial is None else recurrent._per_direction(initial, index)
        row, last = _run(cell, start, reverse=reverse, linear=linear)
        rows.append(coreai.expand_dims(row, [1]))
        lasts.append(coreai.expand_dims(last, [0]))
    results = [rows[0], lasts[0]]
    if count > 1:
        results = [coreai.concat(1, rows), coreai.concat(0, lasts)]
    return [results[index] for index, name in enumerate(node.output) if name]


def _activations(attributes: dict[str, Any], count: int) -> list[str]:
    """Names of the activations, two for each direction.

    Raises:
        ValueError: an attribute has no lowering.
    """
    for name, plain in (("clip", None), ("layout", 0)):
        if attributes.get(name, plain) != plain:
            raise ValueError(f"GRU with {name} has no lowering")
    if attributes.get("activation_alpha") or attributes.get("activation_beta"):
        raise ValueError("GRU whose activations have parameters has no lowering")
    names: list[str] = attributes.get("activations") or ["Sigmoid", "Tanh"] * count
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown:
        raise ValueError(f"GRU with the activation {unknown[0]} has no lowering")
    return names


def _projected(  # noqa: PLR0917 - parts of one operator
    coreai: Any,
    recurrent: Any,
    sequence: Value,
    weight: Value,
    bias: Value | None,
    index: int,
    hidden: int,
    *,
    linear: bool,
) -> tuple[Value, Value | None]:
    """X W^T with its biases, (steps, batch, 3 hidden), and the bias that is reset."""
    transposed = recurrent._transposed(recurrent._per_direction(weight, index))
    projected = coreai.broadcasting_batch_matmul(sequence, transposed)
    if bias is None:
        return projected, None
    both = recurrent._per_direction(bias, index)
    inner = GATES * hidden
    of_input = coreai.slice_(both, [0], [inner], [1])
    of_state = coreai.slice_(both, [inner], [2 * inner], [1])
    if not linear:
        total = coreai.broadcasting_add(of_input, of_state)
        return coreai.broadcasting_add(projected, total), None
    gates = coreai.slice_(of_state, [0], [2 * hidden], [1])
    zeros = coreai.constant(np.zeros(hidden, np.float32))
    total = coreai.broadcasting_add(of_input, coreai.concat(0, [gates, zeros]))
    reset = coreai.slice_(of_state, [2 * hidden], [inner], [1])
    return coreai.broadcasting_add(projected, total), reset


def _run(cell: Cell, start: Value | None, *, reverse: bool, linear: bool) -> tuple[Value, Value]:
    """All states (steps, batch, hidden) and the last one (batch, hidden) of one direction.

    What enters the loop is computed from the inputs: constants of floats crash its compiler.
    """
    coreai = cell.coreai
    steps = cell.steps
    batch = cell.batch
    hidden = cell.hidden
    projected = cell.projected
    if reverse:
        projected = coreai.reverse(projected, np.array([0], INTEGER))
    zero = coreai.constant(np.float32(0))
    some = coreai.slice_(projected, [0, 0, 0], [steps, batch, hidden], [1, 1, 1])
    rows = coreai.broadcasting_mul(some, zero)
    first = coreai.reshape(
        coreai.slice_(rows, [0, 0, 0], [1, batch, hidden], [1, 1, 1]), [batch, hidden]
    )
    if start is not None:
        first = coreai.broadcasting_add(first, start)
    time = coreai.constant(np.array(0, INTEGER))
    end = coreai.constant(np.array(steps, INTEGER))
    results, (before, after) = coreai.while_(
        results=[time.type, first.type, rows.type], inits=[time, first, rows]
    )
    with before:
        now, state, written = before.arguments
        coreai.condition(coreai.not_equal(now, end), now, state, written)
    with after:
        now, state, written = after.arguments
        coreai.yield_(_step(cell, projected, now, state, written, linear=linear))
    _, last, states = list(results)
    if reverse:
        states = coreai.reverse(states, np.array([0], INTEGER))
    return states, last


def _step(
    cell: Cell, projected: Value, now: Value, state: Value, written: Value, *, linear: bool
) -> list[Value]:
    """Time, state and states after one step."""
    coreai = cell.coreai
    begin = coreai.expand_dims(now, [0])
    following = coreai.add(begin, coreai.constant(np.array([1], INTEGER)))
    start = coreai.concat(0, [begin, coreai.constant(np.array([0, 0], INTEGER))])
    strides = coreai.constant(np.array([1, 1, 1], INTEGER))

    def end(width: int) -> Value:
        sizes = coreai.constant(np.array([cell.batch, width], INTEGER))
        return coreai.concat(0, [following, sizes])

    width = GATES * cell.hidden
    inputs = coreai.reshape(
        coreai.slice_(projected, start, end(width), strides), [cell.batch, width]
    )
    state = cell.next_state(inputs, state, linear=linear)
    row = coreai.expand_dims(state, [0])
    written = coreai.slice_update(written, start, end(cell.hidden), strides, row)
    return [coreai.add(now, coreai.constant(np.array(1, INTEGER))), state, written]
