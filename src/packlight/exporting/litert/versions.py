"""Versions of LiteRT's operators: an interpreter older than one refuses the file.

Source: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/tools/versioning/op_version.cc
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

USUAL_RANK = 4
"""Axes that the first versions of operators take."""


class TypedTensor(Protocol):
    """What a version depends on of a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...

    @property
    def dtype(self) -> str:
        """Name of its elements' type."""
        ...


BYTE_OPERATORS = (
    "ADD", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION",
    "DEPTH_TO_SPACE", "EQUAL", "EXP", "GATHER", "GELU", "GREATER", "GREATER_EQUAL", "LESS",
    "LESS_EQUAL", "LOG", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM",
    "MIRROR_PAD", "MUL", "NOT_EQUAL", "PAD", "PADV2", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD",
    "RELU", "RELU6", "RESIZE_BILINEAR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH",
    "SQRT", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TOPK_V2", "TRANSPOSE",
)  # fmt: skip
"""Operators whose second version takes int8."""

BY_TYPE: Mapping[tuple[str, str], int] = {
    **{(name, "int8"): 2 for name in BYTE_OPERATORS},
    ("ABS", "int32"): 5,
    ("ADD", "int64"): 4,
    ("BROADCAST_TO", "int8"): 3,
    ("CONV_2D", "int8"): 3,
    ("DEPTHWISE_CONV_2D", "int8"): 3,
    ("DEQUANTIZE", "float16"): 3,
    ("DEQUANTIZE", "int4"): 6,
    ("DEQUANTIZE", "int8"): 2,
    ("GATHER", "bool"): 3,
    ("GATHER_ND", "bool"): 5,
    ("MUL", "int64"): 5,
    ("PAD", "bool"): 5,
    ("PADV2", "bool"): 5,
    ("SIGN", "int32"): 2,
    ("STRIDED_SLICE", "bool"): 3,
    ("SUB", "int64"): 4,
    ("TILE", "int8"): 3,
    ("TRANSPOSE", "bool"): 3,
}
"""Version by operator and type of its first input."""

MORE_AXES: Mapping[str, int] = {
    "DIV": 2,
    "MAXIMUM": 3,
    "MINIMUM": 3,
    "PAD": 4,
    "PADV2": 4,
    "SLICE": 5,
    "STRIDED_SLICE": 4,
    "SUB": 3,
    "TRANSPOSE": 4,
}
"""Version of operators over more than four axes."""

LEAST: Mapping[str, int] = {"BROADCAST_TO": 2}
"""First version that there is, where it is not 1."""


def operator_version(
    name: str, inputs: Sequence[TypedTensor], per_channel: bool, options: Mapping[str, Any]
) -> int:
    """The version of an operator.

    Args:
        name: of the operator.
        inputs: those that it has.
        per_channel: whether its first input has a scale for each channel.
        options: of the operator.
    """
    dtype = inputs[0].dtype
    version = max(BY_TYPE.get((name, dtype), 1), LEAST.get(name, 1))
    rank = max(len(tensor.shape) for tensor in inputs)
    if rank > USUAL_RANK:
        version = max(version, MORE_AXES.get(name, 1))
    if name == "TRANSPOSE" and rank > USUAL_RANK + 1:
        version = max(version, 6)
    if name == "DEQUANTIZE" and per_channel and dtype == "int8":
        version = 5
    if name == "CONV_2D" and inputs[0].shape[-1] != inputs[1].shape[-1]:
        version = 6
    if name == "FULLY_CONNECTED":
        version = _fully_connected(inputs, options)
    dilated = max(options.get(f"dilation{axis}Factor", 1) for axis in "HW") > 1
    if name == "DEPTHWISE_CONV_2D" and dilated:
        version = max(version, 2)
    if name == "RESIZE_BILINEAR" and options.get("halfPixelCenters"):
        version = 3
    if name == "CAST" and "int8" in (dtype, options.get("target")):
        version = 3
    return version


def _fully_connected(inputs: Sequence[TypedTensor], options: Mapping[str, Any]) -> int:
    if len(inputs) == 2:  # noqa: PLR2004 - no bias
        return 6
    if options.get("keepNumDims"):
        return 5
    if inputs[0].dtype == "int8":
        return 4
    return 1
