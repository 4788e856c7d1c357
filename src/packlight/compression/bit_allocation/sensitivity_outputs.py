"""Outputs whose error is the sensitivity of a model to rounding."""

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


def sensitivity_outputs(graph: ir.Model, carried: Collection[str]) -> list[str]:
    """Names of the real outputs that are not fed again.

    Where there is none, of those that are and of the real values that other outputs follow from,
    as the scores before an ArgMax.

    Args:
        graph: left as it is.
        carried: outputs that the model is fed again.

    Raises:
        RecipeError: nothing real is found.
    """
    reals = [str(value.name) for value in graph.graph.outputs if _is_real(value)]
    names = [name for name in reals if name not in carried]
    if not names:
        names = list(_nearest_reals(infer_types(graph.clone()).graph.outputs))
    if not names:
        raise RecipeError(
            "mixed= compares real values that the model computes, and its outputs neither are such "
            "nor follow from any; leave mixed= out, so that all weights get one width"
        )
    return names


def _is_real(value: ir.Value) -> bool:
    return isinstance(value.type, ir.TensorType) and value.dtype in REALS


def _nearest_reals(outputs: Iterable[ir.Value]) -> Iterator[str]:
    """Names of the last real values that outputs are computed from, themselves where they are."""
    queue = deque(outputs)
    visited = set[int]()
    while queue:
        value = queue.popleft()
        node = value.producer()
        if node is None or id(value) in visited:
            continue
        visited.add(id(value))
        if node.inputs and _is_real(value):
            yield str(value.name)
        elif node.op_type not in BY_SHAPE:
            queue.extend(_outer_inputs(node))


def _outer_inputs(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        read = [*body.outputs]
        for inner in operators(body):
            read += [value for value in inner.inputs if value is not None]
        yield from (value for value in read if _is_computed_in(value, node.graph))


def _is_computed_in(value: ir.Value, graph: ir.Graph | ir.Function | None) -> bool:
    node = value.producer()
    return node is not None and node.graph is graph
