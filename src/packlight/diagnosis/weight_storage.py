"""How the variant stores a weight: in what type, with what beside it."""

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
"""Part of the names of operators that stand for an integer operator."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What is stored of one weight.

    Attributes:
        kind: type of the largest part.
        codes: bytes of the largest part.
        beside: bytes of scales, zero points and tables.
        block: numbers along the summed axis that share a scale; 0 where that is not by blocks.
        unpacked: whether operators restore it.
        folded: whether ONNX Runtime restores it once, when the model is loaded.
    """

    kind: ir.DataType
    codes: int
    beside: int
    block: int
    unpacked: bool
    folded: bool


def storage_of(value: ir.Value) -> Storage:
    """What is stored of a weight that is read as this value."""
    parts: dict[ir.Value, ir.TensorProtocol] = {}
    rest, seen, makers = [value], {value}, []
    for one in rest:
        tensor = stored_tensor(one)
        maker = one.producer()
        if tensor is not None:
            parts[one] = tensor
        elif maker is not None:
            makers.append(maker)
            fresh = [v for v in maker.inputs if v is not None and v not in seen]
            seen.update(fresh)
            rest += fresh
    largest = max(parts.values(), key=lambda tensor: tensor.nbytes)
    blocks = [node.attributes.get_int("block_size", 0) for node in makers]
    restoring = any(node.op_type == "DequantizeLinear" for node in makers)
    return Storage(
        kind=largest.dtype,
        codes=int(largest.nbytes),
        beside=int(sum(tensor.nbytes for tensor in parts.values()) - largest.nbytes),
        block=max(blocks, default=0),
        unpacked=bool(makers),
        folded=bool(makers) and not restoring and not any(map(is_rewritten, makers)),
    )


def is_rewritten(node: ir.Node) -> bool:
    """Whether an operator only writes out what an integer operator of the variant does."""
    return REWRITTEN in str(node.name)


def channel_axis(node: ir.Node, place: int, rank: int) -> int:
    """The axis of a weight that tells outputs apart."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    if node.op_type == "MatMul":
        return rank - 1 if place else rank - MATRIX
    return {"ConvTranspose": 1, "LSTM": 1, "GRU": 1, "RNN": 1}.get(node.op_type, 0)


def by_channel(weight: Rows, axis: int) -> Rows:
    """A weight as (channels, numbers)."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def levels_of(rows: Rows) -> int:
    """Different numbers in the channel (channels, n) that has most."""
    ordered = np.sort(rows.astype(np.float32), axis=1)
    return int((np.diff(ordered, axis=1) != 0).sum(axis=1).max(initial=0)) + 1
