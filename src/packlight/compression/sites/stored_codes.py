"""Values that are restored from stored codes, by packlight or by another tool."""

from __future__ import annotations

import onnx_ir as ir

from packlight.compression.encoding.functions import DOMAIN
from packlight.model import stored_tensor
from packlight.profiling.parameters import CODES

PAIRS = ("QuantizeLinear", "DequantizeLinear")
"""Operators between floats and codes."""


def is_restored(value: ir.Value | None, least: int) -> bool:
    """Check that a value is made of stored values alone, and of at least so many codes.

    Args:
        value: any value.
        least: number of codes below which they are sizes or zero points.
    """
    codes = 0
    reached = set()
    pending = [value]
    while pending:
        source = pending.pop()
        if source is None or id(source) in reached:
            continue
        reached.add(id(source))
        tensor = stored_tensor(source)
        maker = source.producer()
        if tensor is not None:
            codes = max(codes, tensor.size * (tensor.dtype in CODES))
        elif maker is None:
            return False
        else:
            pending += maker.inputs
    return codes >= least


def belongs_to_codes(value: ir.Value, least: int) -> bool:
    """Check that a stored value holds scales, or values that codes point to.

    Args:
        value: stored.
        least: number of codes, as of ``is_restored``.
    """
    for node in value.consumers():
        if node.domain == DOMAIN or node.op_type in PAIRS:
            return True
        if any(is_restored(output, least) for output in node.outputs):
            return True
    return False
