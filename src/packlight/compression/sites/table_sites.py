"""Stored tables: weights that are added, multiplied, looked up or moved, and sums run over none.

They are restored before their operators read them, so any way to share scales is sound.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.capabilities import capabilities
from packlight.compression.encoding.stored_values import UniqueNames
from packlight.compression.sites.stored_codes import FLOAT_TYPES, CodesBehind, belongs_to_codes
from packlight.compression.sites.weight_roles import Role
from packlight.compression.sites.weight_sites import (
    MIN_WEIGHT_SIZE,
    Weight,
    is_model_output,
    not_stored_refusal,
)
from packlight.model import initializers, nodes, stored_tensor
from packlight.records.variant import Refusal

MIN_ROW = 32
"""Numbers that share a scale at least, where a table has as many."""

RECURRENT = ("LSTM", "GRU", "RNN")
RECURRENT_BIAS = 3
"""The first input of a recurrent operator that it adds or starts from."""

SETTLED = "packlight.settled"
"""Mark of a value that a step left in 16 bits because codes would not gain."""

SMALL_GAIN = "codes would save too few bytes for the error that they add"

KEEP_IN_HALF = "store it in half precision by one more step: float16"


IN_CODES = "what it stores belongs to codes that are stored already"


def stored_floats(graph: ir.Model, least: int) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """Stored floats that something reads, of so many numbers at least, in subgraphs too."""
    constants = (node.outputs[0] for node in nodes(graph) if node.op_type == "Constant")
    for value in (*initializers(graph), *constants):
        tensor = stored_tensor(value)
        if tensor is None or tensor.dtype not in FLOAT_TYPES or tensor.size < least:
            continue
        if value.uses():
            yield value, tensor


def table_sites(graph: ir.Model, others: Collection[int]) -> Iterator[Weight | Refusal]:
    """Every stored table, and refusals of vectors and of what belongs to codes.

    Args:
        graph: the model.
        others: identities of the values that products read, which are no tables.
    """
    names = UniqueNames(graph)
    known: CodesBehind = {}
    for value, tensor in stored_floats(graph, MIN_WEIGHT_SIZE):
        if id(value) not in others:
            yield _table_site(graph, value, tensor, names, known)


def _table_site(
    graph: ir.Model,
    value: ir.Value,
    tensor: ir.TensorProtocol,
    names: UniqueNames,
    known: CodesBehind,
) -> Weight | Refusal:
    node, index = next(iter(value.uses()))
    name = str(node.name)
    shape = tuple(tensor.shape.numpy())
    if value.meta.get(SETTLED):
        return Refusal(name, "no-gain", SMALL_GAIN)
    if value.is_graph_input():
        return not_stored_refusal(graph, name, value)
    if is_model_output(value):
        reason = f"its '{value.name}' is also an output of the model, which must not change"
        return Refusal(name, "model-output", reason)
    if belongs_to_codes(value, MIN_WEIGHT_SIZE, known) or reads_codes(node):
        return Refusal(name, "already-quantized", IN_CODES)
    if max(shape) == tensor.size or _is_recurrent_bias(node, index):
        reason = "its vector would lose more than its bytes are worth"
        return Refusal(name, "vector", reason, KEEP_IN_HALF)
    role = Role(node, index, len(shape), row_axes(shape), names, observed=False)
    return Weight(value, tensor, (role,))


def reads_codes(node: ir.Node) -> bool:
    """Check for an operator that computes with codes by its type."""
    runtime = capabilities("onnxruntime")
    return node.op_type in (*runtime.code_operators, *runtime.block_operators)


def _is_recurrent_bias(node: ir.Node, index: int) -> bool:
    return node.op_type in RECURRENT and index >= RECURRENT_BIAS


def row_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes of a table that share a scale: as few as hold enough numbers.

    >>> row_axes((1, 512, 384)), row_axes((64, 32, 3, 3))
    ((2,), (1, 2, 3))
    """
    first = len(shape) - 1
    while first > 1 and math.prod(shape[first:]) < MIN_ROW:
        first -= 1
    return tuple(range(first, len(shape)))


SAMPLE = 16_384
"""Numbers of a table that are looked at."""

REPEATS = 16
"""Times that each number of a grid of positions or of a mask occurs in the sample, at least."""


def is_regular(table: NDArray[np.generic]) -> bool:
    """Check that few numbers of a table differ: a mask, or positions on a grid.

    Rounding moves such positions by whole pixels, while nothing averages that out.
    """
    numbers = table.reshape(-1)
    stride = -(-numbers.size // SAMPLE)
    sample = np.asarray(numbers[::stride], np.float64)
    return len(np.unique(sample)) * REPEATS <= len(sample)
