"""Reasons why XNNPACK cannot compute with the codes of a weight, beyond what the table says."""

from __future__ import annotations

import onnx_ir as ir

from packlight.exporting.keeping import is_bias
from packlight.exporting.neutral import Neutral
from packlight.exporting.weights import GridWeight, StoredWeight
from packlight.model import optional_input

CONVOLUTION = "Conv"
STORED_INPUT = 1
"""Input of a product or a convolution that is its weight."""

MATRIX = 2
IMAGE_WEIGHT = 4
NARROW_BITS = 4
BLOCK_MULTIPLE = 32
LEAST_CODE = -127
"""Sums of two products of lower codes overflow in Arm's 16-bit kernels."""


def obstacle(neutral: Neutral, weight: StoredWeight) -> str:
    """State what of a weight in codes XNNPACK does not compute with; empty where it does.

    Args:
        neutral: the model.
        weight: that the table of formats keeps.
    """
    encoding = weight.encoding
    if not isinstance(encoding, GridWeight) or is_bias(weight):
        return ""
    if not weight.is_in_layout or weight.dtype != "float32" or not encoding.is_signed:
        return "XNNPACK needs its codes signed, in the weight's own layout, beside float32"
    if encoding.bits > NARROW_BITS and int(encoding.codes.min(initial=0)) < LEAST_CODE:
        return f"it has codes below {LEAST_CODE}, which overflow in XNNPACK"
    reasons = (
        _operator_obstacle(node, index, encoding) for node, index in neutral.readers(weight.name)
    )
    return next(filter(None, reasons), "")


def _operator_obstacle(node: ir.Node, index: int, encoding: GridWeight) -> str:
    name = f"{node.op_type} '{node.name}'"
    if index != STORED_INPUT:
        return f"{name} reads it in place of an activation"
    if node.op_type == CONVOLUTION:
        if len(encoding.shape) != IMAGE_WEIGHT:
            return f"{name} is not over two axes"
        if encoding.scale.axes(encoding.shape) not in ((), (0,)):
            return f"{name} needs scales of output channels"
        return ""
    return _product_obstacle(node, name, encoding)


def _product_obstacle(node: ir.Node, name: str, encoding: GridWeight) -> str:
    if len(encoding.shape) != MATRIX:
        return f"{name} reads it with more than two axes"
    transposed = node.attributes.get_int("transB", 0)
    bias = optional_input(node, 2)
    plain = (
        not node.attributes.get_int("transA", 0)
        and node.attributes.get_float("alpha", 1.0) == 1
        and node.attributes.get_float("beta", 1.0) == 1
        and (bias is None or (bias.shape is not None and len(bias.shape) == 1))
    )
    if not plain:
        return f"{name} scales or transposes what it adds"
    inputs = int(transposed != 0)
    if encoding.bits <= NARROW_BITS:
        return _block_obstacle(name, encoding, inputs)
    if encoding.scale.block[inputs] < encoding.shape[inputs]:
        return f"{name} needs scales of output channels"
    return ""


def _block_obstacle(name: str, encoding: GridWeight, inputs: int) -> str:
    """State what is in the way of blocks along the axis of inputs; empty where nothing is."""
    block = encoding.scale.block[inputs]
    size = encoding.shape[inputs]
    if min(block, size) % BLOCK_MULTIPLE or size % min(block, size):
        return f"{name} needs blocks of a multiple of {BLOCK_MULTIPLE} inputs that divide them"
    if encoding.scale.block[1 - inputs] > 1 and encoding.scale.values.shape[1 - inputs] > 1:
        return f"{name} needs scales of single output channels"
    return ""
