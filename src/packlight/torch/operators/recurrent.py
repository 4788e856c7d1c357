"""LSTM, GRU and RNN, step by step in differentiable operators.

Source: the specifications of ``LSTM``, ``GRU`` and ``RNN`` of ONNX; gates are in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from packlight.torch.operators.fused_activations import PARAMETERS, apply_activation
from packlight.torch.operators.layout import reverse_sequences
from packlight.torch.values import Function, Operator, Tensor, Value, integers

DEFAULT_PARAMETERS: Mapping[str, tuple[float, ...]] = {
    "Affine": (1.0, 0.0),
    "ScaledTanh": (1.0, 1.0),
    "LeakyRelu": (0.01,),
    "ThresholdedRelu": (1.0,),
    "Elu": (1.0,),
    "HardSigmoid": (0.2, 0.5),
}
TAKES_BETA = ("Affine", "ScaledTanh", "HardSigmoid")

CLIPPED = 2
"""Activations whose inputs are clipped: of the gates and the candidate.

The standard clips "the input of activations"; ONNX Runtime does not clip the cell of an LSTM.
"""

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
"""Hidden state, and for an LSTM the cell state; each (batch, hidden)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of one direction.

    Attributes:
        inputs: (gates * hidden, inputs).
        states: (gates * hidden, hidden).
        input_bias: (gates * hidden,).
        state_bias: (gates * hidden,).
        peepholes: (3 * hidden,), or None.
    """

    inputs: Tensor
    states: Tensor
    input_bias: Tensor
    state_bias: Tensor
    peepholes: Tensor | None


def _activations(op: Operator, defaults: tuple[str, ...], direction: int) -> list[Activation]:
    """The activations of a direction, with what clips their inputs."""
    names = [str(name) for name in op.attributes.get("activations", ())]
    alphas = op.numbers("activation_alpha")
    betas = op.numbers("activation_beta")
    parameters = []
    for name in names:
        usual = DEFAULT_PARAMETERS.get(name, ())
        if name in DEFAULT_PARAMETERS and alphas:
            usual = (alphas.pop(0), *usual[1:])
        if name in TAKES_BETA and betas:
            usual = (usual[0], betas.pop(0))
        parameters.append(usual)
    count = len(defaults)
    names = names[direction * count : (direction + 1) * count] or list(defaults)
    parameters = parameters[direction * count : (direction + 1) * count] or [()] * count
    limit = op.attributes.get("clip")
    pairs = zip(names, parameters, strict=True)
    return [
        _activation(name, values, limit if index < CLIPPED else None)
        for index, (name, values) in enumerate(pairs)
    ]


def _activation(name: str, parameters: tuple[float, ...], limit: float | None) -> Activation:
    values = parameters or DEFAULT_PARAMETERS.get(name, ())
    assert name in PARAMETERS or len(values) in (0, 2)

    def apply(x: Tensor) -> Tensor:
        if limit is not None:
            x = torch.clamp(x, -limit, limit)
        return apply_activation(name, values, x)

    return apply


Step = Callable[[Operator, Weights, list[Activation], Tensor, State], State]


def _lstm_step(
    op: Operator, weights: Weights, functions: list[Activation], x: Tensor, state: State
) -> State:
    """One step; ``x`` is the product with the inputs' weights; gates input, output, forget, new."""
    hidden, cell = state
    gate, candidate, squash = functions
    total = x + torch.matmul(hidden, weights.states.t()) + weights.state_bias
    into, out, forget, new = torch.chunk(total, 4, -1)
    peepholes = weights.peepholes
    if peepholes is None:
        peepholes = cell.new_zeros(3 * cell.shape[-1])
    peep_in, peep_out, peep_forget = torch.chunk(peepholes, 3)
    into = gate(into + peep_in * cell)
    forget = 1 - into if op.flag("input_forget") else gate(forget + peep_forget * cell)
    cell = forget * cell + into * candidate(new)
    out = gate(out + peep_out * cell)
    return out * squash(cell), cell


def _gru_step(
    op: Operator, weights: Weights, functions: list[Activation], x: Tensor, state: State
) -> State:
    """One step; gates update, reset, hidden."""
    (hidden,) = state
    gate, candidate = functions
    width = hidden.shape[-1]
    update_in, reset_in, new_in = torch.chunk(x, 3, -1)
    gates = weights.states[: 2 * width]
    sums = torch.matmul(hidden, gates.t()) + weights.state_bias[: 2 * width]
    update_state, reset_state = torch.chunk(sums, 2, -1)
    update = gate(update_in + update_state)
    reset = gate(reset_in + reset_state)
    last = weights.states[2 * width :]
    bias = weights.state_bias[2 * width :]
    if op.flag("linear_before_reset"):
        new = candidate(new_in + reset * (torch.matmul(hidden, last.t()) + bias))
    else:
        new = candidate(new_in + torch.matmul(reset * hidden, last.t()) + bias)
    return ((1 - update) * new + update * hidden,)


def _rnn_step(
    _op: Operator, weights: Weights, functions: list[Activation], x: Tensor, state: State
) -> State:
    (hidden,) = state
    total = x + torch.matmul(hidden, weights.states.t()) + weights.state_bias
    return (functions[0](total),)


@dataclass(frozen=True, slots=True)
class Cell:
    """A kind of recurrent operator.

    Attributes:
        step: computes the next state.
        gates: number of gates.
        activations: defaults, in the order of ONNX.
        states: number of states.
    """

    step: Step
    gates: int
    activations: tuple[str, ...]
    states: int


CELLS = {
    "GRU": Cell(_gru_step, 3, ("Sigmoid", "Tanh"), 1),
    "LSTM": Cell(_lstm_step, 4, ("Sigmoid", "Tanh", "Tanh"), 2),
    "RNN": Cell(_rnn_step, 1, ("Tanh",), 1),
}


def recurrent(
    op: Operator,
    x: Tensor,
    weight: Tensor,
    state_weight: Tensor,
    bias: Tensor | None = None,
    lengths: Value = None,
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Run every direction; returns all hidden states, then the last of every state."""
    batch_first = op.flag("layout")
    if batch_first:
        x = x.transpose(0, 1)
    kind = CELLS[op.op_type]
    count = weight.shape[0]
    width = state_weight.shape[-1]
    zeros = torch.zeros(count, x.shape[1], width, dtype=x.dtype, device=x.device)
    starts = []
    for start in (hidden, cell)[: kind.states]:
        if start is not None and batch_first:
            starts.append(start.transpose(0, 1))
        else:
            starts.append(zeros if start is None else start)
    ends = integers(lengths, [x.shape[0]] * x.shape[1])
    backward_only = op.text("direction", "forward") == "reverse"
    runs = []
    for index in range(count):
        parts = _direction_weights(weight[index], state_weight[index], bias, peepholes, index)
        functions = _activations(op, kind.activations, index)
        initial = tuple(start[index] for start in starts)
        backward = backward_only or index == 1
        runs.append(_run(op, parts, functions, x, initial, ends, backward=backward))
    outputs = torch.stack([run[0] for run in runs], 1)
    lasts = [torch.stack([run[1][index] for run in runs]) for index in range(kind.states)]
    if batch_first:
        outputs = outputs.permute(2, 0, 1, 3)
        lasts = [last.transpose(0, 1) for last in lasts]
    return outputs, *lasts


def _direction_weights(
    weight: Tensor, states: Tensor, bias: Tensor | None, peepholes: Tensor | None, index: int
) -> Weights:
    size = weight.shape[0]
    if bias is None:
        zeros = torch.zeros(size, dtype=weight.dtype, device=weight.device)
        pair = (zeros, zeros)
    else:
        pair = (bias[index][:size], bias[index][size:])
    if peepholes is not None:
        peepholes = peepholes[index]
    return Weights(weight, states, *pair, peepholes)


def _run(
    op: Operator,
    weights: Weights,
    functions: list[Activation],
    x: Tensor,
    state: State,
    ends: list[int],
    *,
    backward: bool,
) -> tuple[Tensor, State]:
    """Run one direction over (steps, batch, inputs); sequences end at their lengths."""
    if backward:
        x = _reverse(x, ends)
    products = torch.matmul(x, weights.inputs.t()) + weights.input_bias
    step = CELLS[op.op_type].step
    ragged = any(end != x.shape[0] for end in ends)
    last_step = torch.tensor(ends, device=x.device).unsqueeze(1)
    outputs = []
    for time in range(x.shape[0]):
        following = step(op, weights, functions, products[time], state)
        output = following[0]
        if ragged:
            running = time < last_step
            output = torch.where(running, output, torch.zeros_like(output))
            pairs = zip(following, state, strict=True)
            following = tuple(torch.where(running, new, old) for new, old in pairs)
        state = following
        outputs.append(output)
    if not outputs:
        return x.new_zeros(0, *state[0].shape), state
    stacked = torch.stack(outputs)
    if backward:
        stacked = _reverse(stacked, ends)
    return stacked, state


def _reverse(x: Tensor, ends: list[int]) -> Tensor:
    if all(end == x.shape[0] for end in ends):
        return torch.flip(x, [0])
    return reverse_sequences(x.transpose(0, 1), ends).transpose(0, 1)


RECURRENT: Mapping[str, Function] = {"GRU": recurrent, "LSTM": recurrent, "RNN": recurrent}
