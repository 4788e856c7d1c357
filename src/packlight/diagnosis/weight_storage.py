"""Storage of a weight in the variant: its type, scales and tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import stored_tensor

Rows = NDArray[np.float64]

LARGEST_GRID = 256
"""Different numbers in one channel up to which a weight lies on a grid or in a table."""

MATRIX = 2
REWRITTEN = ".exact."
"""Part of the names of operators that rewrite an integer operator."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Stored tensors of one weight.

    Attributes:
        kind: type of the largest part.
        codes: bytes of the largest part.
        overhead: bytes of scales, zero points and tables.
        block: numbers along the summed axis that share a scale; 0 without blocks.
        unpacked: whether operators dequantize it.
        folded: whether ONNX Runtime dequantizes it once, when the model is loaded.
    """

    kind: ir.DataType
    codes: int
    overhead: int
    block: int
    unpacked: bool
    folded: bool


def storage_of(value: ir.Value) -> Storage:
    """The stored tensors behind a weight."""
    parts: dict[ir.Value, ir.TensorProtocol] = {}
    pending = [value]
    visited = {value}
    producers = []
    for part in pending:
        tensor = stored_tensor(part)
        producer = part.producer()
        if tensor is not None:
            parts[part] = tensor
        elif producer is not None:
            producers.append(producer)
            fresh = [v for v in producer.inputs if v is not None and v not in visited]
            visited.update(fresh)
            pending += fresh
    largest = max(parts.values(), key=lambda tensor: tensor.nbytes)
    blocks = [node.attributes.get_int("block_size", 0) for node in producers]
    at_run = any(node.op_type == "DequantizeLinear" or _is_rewritten(node) for node in producers)
    return Storage(
        kind=largest.dtype,
        codes=int(largest.nbytes),
        overhead=int(sum(tensor.nbytes for tensor in parts.values()) - largest.nbytes),
        block=max(blocks, default=0),
        unpacked=bool(producers),
        folded=bool(producers) and not at_run,
    )


def _is_rewritten(node: ir.Node) -> bool:
    return REWRITTEN in str(node.name)


def channel_axis(node: ir.Node, index: int, rank: int) -> int:
    """The axis of a weight's output channels."""
    if node.op_type == "Gemm":
        if node.attributes.get_int("transB", 0):
            return 0
        return 1
    if node.op_type == "MatMul":
        return rank - 1 if index else rank - MATRIX
    return {"ConvTranspose": 1, "LSTM": 1, "GRU": 1, "RNN": 1}.get(node.op_type, 0)


def by_channel(weight: Rows, axis: int) -> Rows:
    """A weight as (channels, numbers)."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def levels_of(rows: Rows) -> int:
    """Count different numbers in the channel (channels, n) that has most."""
    ordered = np.sort(rows.astype(np.float32), axis=1)
    return int((np.diff(ordered, axis=1) != 0).sum(axis=1).max(initial=0)) + 1
