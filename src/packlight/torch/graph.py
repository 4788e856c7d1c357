"""A graph as steps that run in order, and the control flow between them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from packlight.model import has_bodies, optional_input
from packlight.model.model import GRAPHS
from packlight.torch.operators import OPERATORS
from packlight.torch.sizes import MEASURES, SIZES, castable, size_inputs
from packlight.torch.values import (
    BITS,
    DTYPES,
    STORED_KIND,
    Function,
    Operator,
    Tensor,
    Value,
    array_of,
    as_tensor,
    integer,
)

Operators = Mapping[str, Mapping[str, Function]]
"""Functions by domain and type of operator."""

Scope = dict[str, Value]
"""Values by name while a graph runs."""


@dataclass(frozen=True, slots=True)
class Step:
    """An operator with its place in a graph.

    Attributes:
        operator: its record.
        inputs: names; empty for an input left out.
        outputs: names; empty for an output that nobody reads.
        function: computes it on tensors; None for control flow.
        sizes: computes it on arrays, where it can.
        size_inputs: positions of inputs that stay arrays where they are.
        bodies: its subgraphs, by attribute.
        release: names that no later step reads.
    """

    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: Function | None
    sizes: Function | None
    size_inputs: tuple[int, ...]
    bodies: Mapping[str, Program]
    release: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A graph to run.

    Attributes:
        inputs: names.
        outputs: names.
        steps: in the order they run.
        captures: names from outside that it reads, stored values included.
        empty: for each output a tensor without elements, of the type and shape it has in a stack.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    captures: tuple[str, ...]
    empty: tuple[Tensor, ...] = field(default=())


def compile_graph(
    graph: ir.Graph, opsets: Mapping[str, int], operators: Operators = OPERATORS
) -> Program:
    """Compile a graph whose operators are all in a table."""
    steps = [_step(node, opsets, operators) for node in graph if node.op_type != "Constant"]
    inputs = tuple(str(value.name) for value in graph.inputs)
    outputs = tuple(str(value.name) for value in graph.outputs)
    produced = {*inputs, *(name for step in steps for name in step.outputs)}
    read = dict.fromkeys(name for step in steps for name in _reads(step))
    read.update(dict.fromkeys(outputs))
    captures = tuple(name for name in read if name not in produced)
    empty = tuple(_empty_stack(value) for value in graph.outputs)
    return Program(inputs, outputs, tuple(_with_releases(steps, outputs)), captures, empty)


def _reads(step: Step) -> Iterator[str]:
    yield from (name for name in step.inputs if name)
    for body in step.bodies.values():
        yield from body.captures


def _with_releases(steps: Sequence[Step], outputs: Sequence[str]) -> list[Step]:
    """State for each step what no later one reads."""
    later = set(outputs)
    result = []
    for step in reversed(steps):
        names = dict.fromkeys([*_reads(step), *filter(None, step.outputs)])
        release = tuple(name for name in names if name not in later)
        later.update(names)
        result.append(replace(step, release=release))
    return result[::-1]


def _step(node: ir.Node, opsets: Mapping[str, int], operators: Operators) -> Step:
    operator = operator_of(node, opsets)
    bodies = {
        name: compile_graph(attribute.as_graph(), opsets, operators)
        for name, attribute in node.attributes.items()
        if attribute.type == ir.AttributeType.GRAPH
    }
    return Step(
        operator=operator,
        inputs=tuple(map(_name, node.inputs)),
        outputs=tuple(map(_name, node.outputs)),
        function=_function(node, operators),
        sizes=_function_of_sizes(node, operator),
        size_inputs=size_inputs(node),
        bodies=bodies,
    )


def _name(value: ir.Value | None) -> str:
    if value is None:
        return ""
    return str(value.name or "")


def _function(node: ir.Node, operators: Operators) -> Function | None:
    if has_bodies(node):
        return None
    if not node.domain and node.op_type in MEASURES:
        return MEASURES[node.op_type]
    return operators[node.domain][node.op_type]


def _function_of_sizes(node: ir.Node, operator: Operator) -> Function | None:
    if node.domain or (node.op_type == "Cast" and not castable(operator)):
        return None
    return SIZES.get(node.op_type) or MEASURES.get(node.op_type)


def operator_of(node: ir.Node, opsets: Mapping[str, int]) -> Operator:
    """The record of an operator."""
    attributes = {
        name: _attribute_value(attribute)
        for name, attribute in node.attributes.items()
        if attribute.type not in GRAPHS
    }
    kind = _stated_kind(node)
    if kind is not None and kind in BITS:
        attributes[STORED_KIND] = int(kind)
    named = [index for index, value in enumerate(node.outputs, 1) if value.name]
    count = max(named, default=1)
    return Operator(node.op_type, str(node.name), opsets.get(node.domain, 1), attributes, count)


def _attribute_value(attribute: ir.Attr) -> Any:
    if attribute.type == ir.AttributeType.TENSOR:
        return array_of(attribute.as_tensor())
    return attribute.value


TYPE_INPUTS = {"QuantizeLinear": 2, "CastLike": 1}
"""Inputs of operators that state the type of the result."""


def _stated_kind(node: ir.Node) -> ir.DataType | None:
    """The type of the input that states the type of the result."""
    value = optional_input(node, TYPE_INPUTS.get(node.op_type, -1))
    if value is None:
        return None
    if value.dtype is None and value.const_value is not None:
        return value.const_value.dtype
    return value.dtype


def _empty_stack(value: ir.Value) -> Tensor:
    dims: tuple[int, ...] = ()
    if value.shape is not None and value.shape.is_static():
        dims = value.shape.numpy()
    return torch.zeros(0, *dims, dtype=DTYPES[value.dtype or ir.DataType.FLOAT])


def run_program(program: Program, scope: Scope, device: torch.device) -> list[Value]:
    """Run a graph.

    Args:
        program: the graph.
        scope: its inputs and captures; edited.
        device: for values that begin as arrays.
    """
    for step in program.steps:
        try:
            _run_step(step, scope, device)
        except Exception as error:
            error.add_note(f"in {step.operator.op_type} '{step.operator.name}'")
            raise
        for name in step.release:
            scope.pop(name, None)
    return [scope[name] for name in program.outputs]


def _run_step(step: Step, scope: Scope, device: torch.device) -> None:
    inputs = [scope[name] if name else None for name in step.inputs]
    results: Value
    if step.bodies:
        results = CONTROL_FLOW[step.operator.op_type](step, inputs, scope, device)
    elif step.sizes is not None and inputs and all(map(_is_array, inputs)):
        results = step.sizes(step.operator, *inputs)
    else:
        assert step.function is not None
        tensors = [
            value if index in step.size_inputs else as_tensor(value, device)
            for index, value in enumerate(inputs)
        ]
        results = step.function(step.operator, *tensors)
    if not isinstance(results, tuple):
        results = (results,)
    for name, value in zip(step.outputs, results, strict=False):
        if name:
            scope[name] = value


def _is_array(value: Value) -> bool:
    return value is None or isinstance(value, np.ndarray | np.generic)


def _run_body(
    body: Program, inputs: Sequence[Value], outer: Scope, device: torch.device
) -> list[Value]:
    scope: Scope = {name: outer[name] for name in body.captures}
    scope.update(zip(body.inputs, inputs, strict=True))
    return run_program(body, scope, device)


def _branch(
    step: Step, inputs: Sequence[Value], scope: Scope, device: torch.device
) -> tuple[Value, ...]:
    chosen = "then_branch" if integer(inputs[0]) else "else_branch"
    return tuple(_run_body(step.bodies[chosen], (), scope, device))


def _loop(
    step: Step, inputs: Sequence[Value], scope: Scope, device: torch.device
) -> tuple[Value, ...]:
    body = step.bodies["body"]
    count, condition, *state = [*inputs, None, None][: max(len(inputs), 2)]
    limit = integer(count, sys.maxsize)
    rows: list[list[Value]] = []
    if condition is None:
        condition = np.array(True)
    going = bool(integer(condition))
    while going and len(rows) < limit:
        iteration = np.array(len(rows), np.int64)
        condition, *results = _run_body(body, [iteration, condition, *state], scope, device)
        going = bool(integer(condition))
        state = results[: len(state)]
        rows.append(results[len(state) :])
    stacks = _stack(rows, body.empty[1 + len(state) :], device)
    return (*state, *stacks)


def _scan(
    step: Step, inputs: Sequence[Value], scope: Scope, device: torch.device
) -> tuple[Value, ...]:
    op = step.operator
    body = step.bodies["body"]
    scanned = op.integer("num_scan_inputs")
    state = list(inputs[: len(inputs) - scanned])
    sources = [as_tensor(value, device) for value in inputs[len(inputs) - scanned :]]
    axes = op.integers("scan_input_axes") or [0] * scanned
    backward = op.integers("scan_input_directions") or [0] * scanned
    length = sources[0].shape[axes[0]]
    rows = []
    for time in range(length):
        parts = [
            source.select(axis, length - 1 - time if reverse else time)
            for source, axis, reverse in zip(sources, axes, backward, strict=True)
        ]
        results = _run_body(body, [*state, *parts], scope, device)
        state = results[: len(state)]
        rows.append(results[len(state) :])
    stacks = _stack(rows, body.empty[len(state) :], device)
    backward = op.integers("scan_output_directions") or [0] * len(stacks)
    axes = op.integers("scan_output_axes") or [0] * len(stacks)
    return (*state, *map(_place_axis, stacks, axes, backward))


def _place_axis(stack: Tensor, axis: int, backward: int) -> Tensor:
    if backward:
        stack = torch.flip(stack, [0])
    return stack.movedim(0, axis)


def _stack(rows: list[list[Value]], empty: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    if not rows:
        return [tensor.to(device) for tensor in empty]
    return [
        torch.stack([as_tensor(value, device) for value in column])
        for column in zip(*rows, strict=True)
    ]


CONTROL_FLOW = {"If": _branch, "Loop": _loop, "Scan": _scan}
"""Operators with bodies."""
