"""Which values of a model are compared to tell what rounding does to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator

import onnx_ir as ir

from packlight.errors import RecipeError
from packlight.model.model import bodies, operators
from packlight.runtime.nested_graphs import infer_types

REALS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)
"""Types whose values change little where a weight does."""

BY_SHAPE = ("Shape", "Size")
"""Operators whose results do not depend on the numbers that they read."""


def compared(graph: ir.Model, carried: Collection[str]) -> list[str]:
    """Names of the real outputs that are not fed again.

    Where there is none, of those that are and of the real values that other outputs follow from,
    as the scores before an ArgMax.

    Args:
        graph: left as it is.
        carried: outputs that the model is fed again.

    Raises:
        RecipeError: nothing real is found.
    """
    reals = [str(value.name) for value in graph.graph.outputs if is_real(value)]
    found = [name for name in reals if name not in carried]
    if not found:
        found = list(nearest_reals(infer_types(graph.clone()).graph.outputs))
    if not found:
        raise RecipeError(
            "mixed= compares real values that the model computes, and its outputs neither are such "
            "nor follow from any; leave mixed= out, so that all weights get one width"
        )
    return found


def is_real(value: ir.Value) -> bool:
    """Whether a value is a tensor of real numbers."""
    return isinstance(value.type, ir.TensorType) and value.dtype in REALS


def nearest_reals(outputs: Iterable[ir.Value]) -> Iterator[str]:
    """Names of the last real values that outputs are computed from, themselves where they are."""
    ahead, seen = deque(outputs), set[int]()
    while ahead:
        value = ahead.popleft()
        node = value.producer()
        if node is None or id(value) in seen:
            continue
        seen.add(id(value))
        if node.inputs and is_real(value):
            yield str(value.name)
        elif node.op_type not in BY_SHAPE:
            ahead.extend(read_by(node))


def read_by(node: ir.Node) -> Iterator[ir.Value]:
    """What an operator reads of what its own graph computes, its bodies included."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        inner = [*body.outputs, *(value for each in operators(body) for value in each.inputs)]
        around = (value for value in inner if value is not None)
        yield from (value for value in around if made_in(value, node.graph))


def made_in(value: ir.Value, graph: ir.Graph | ir.Function | None) -> bool:
    """Whether a graph computes a value, rather than one inside it."""
    node = value.producer()
    return node is not None and node.graph is graph
