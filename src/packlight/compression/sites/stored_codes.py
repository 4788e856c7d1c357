"""Values that are restored from stored codes, by packlight or by another tool."""

from __future__ import annotations

import onnx_ir as ir

from packlight.compression.encoding.functions import DOMAIN
from packlight.model import stored_tensor
from packlight.profiling.parameters import CODES

PAIRS = ("QuantizeLinear", "DequantizeLinear")
"""Operators between floats and codes."""


FLOAT_TYPES = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
)
"""Types of weights that can be stored in another form, and restored as what they were."""


NOT_STORED = -1
CodesBehind = dict[int, int]
"""By the ``id`` of a value: the size of the largest tensor of codes that it is made of, or
``NOT_STORED`` if anything but stored values goes into it. It holds for a graph as it is."""


def is_restored(value: ir.Value | None, least: int, known: CodesBehind | None = None) -> bool:
    """Check that a value is made of stored values alone, and of at least so many codes.

    Args:
        value: any value.
        least: number of codes, at least 1, below which they are sizes or zero points.
        known: of the same graph, filled here: many values are then checked in one pass.
    """
    if value is None:
        return False
    return _codes_behind(value, {} if known is None else known) >= least


def _codes_behind(value: ir.Value, known: CodesBehind) -> int:
    """Size of the largest tensor of codes that a value is made of, or ``NOT_STORED``."""
    pending = [value]
    while pending:
        source = pending[-1]
        if id(source) in known:
            pending.pop()
            continue
        maker = source.producer()
        tensor = stored_tensor(source)
        if tensor is not None and not source.is_graph_input():
            known[id(source)] = tensor.size * (tensor.dtype in CODES)
            continue
        if maker is None:
            known[id(source)] = NOT_STORED
            continue
        inputs = [part for part in maker.inputs if part is not None]
        unknown = [part for part in inputs if id(part) not in known]
        sizes = [known[id(part)] for part in inputs if id(part) in known]
        if NOT_STORED in sizes:
            known[id(source)] = NOT_STORED
        elif unknown:
            pending += unknown
        else:
            known[id(source)] = max(sizes, default=0)
    return known[id(value)]


def stores_floats_behind(value: ir.Value | None, least: int) -> bool:
    """Check that a value is made of stored values alone, of so many floats and of no codes."""
    tensors = _tensors_behind(value)
    floats = any(tensor.dtype in FLOAT_TYPES and tensor.size >= least for tensor in tensors)
    return floats and not is_restored(value, least)


def _tensors_behind(value: ir.Value | None) -> list[ir.TensorProtocol]:
    """The stored tensors that a value is made of; none where anything else goes into it."""
    tensors = []
    reached = set()
    pending = [value]
    while pending:
        source = pending.pop()
        if source is None or id(source) in reached:
            continue
        reached.add(id(source))
        tensor = stored_tensor(source)
        maker = source.producer()
        if tensor is not None and not source.is_graph_input():
            tensors.append(tensor)
        elif maker is None:
            return []
        else:
            pending += maker.inputs
    return tensors


def belongs_to_codes(value: ir.Value, least: int, known: CodesBehind | None = None) -> bool:
    """Check that a stored value holds scales, or values that codes point to.

    Args:
        value: stored.
        least: number of codes, as of ``is_restored``.
        known: of the same graph, as of ``is_restored``.
    """
    for node in value.consumers():
        if node.domain == DOMAIN or node.op_type in PAIRS:
            return True
        if any(is_restored(output, least, known) for output in node.outputs):
            return True
    return False
