"""Refuse operators with numbers that they cannot have, which ONNX's checker does not compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

from packlight.errors import ModelError

WINDOW = {"group": 1, "dilations": 1, "strides": 1, "kernel_shape": 1}
CELLS = {"hidden_size": 1}
HEADS = {"num_heads": 1}
BLOCKS = {"blocksize": 1}
LEAST: Mapping[str, Mapping[str, int]] = {
    **dict.fromkeys(
        ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "FusedConv",
         "AveragePool", "MaxPool", "LpPool", "MaxUnpool", "QLinearAveragePool", "Col2Im"),
        WINDOW,
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), CELLS),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), BLOCKS),
    "GroupNormalization": {"num_groups": 1},
    "LRN": {"size": 1},
    "Split": {"num_outputs": 1},
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention", "QAttention"), HEADS),
    "Attention": HEADS,
    "MatMulNBits": {"K": 1, "N": 1, "block_size": 1, "bits": 1},
    "GatherBlockQuantized": {"block_size": 1},
}  # fmt: skip
"""Least values of attributes, by type of operator."""

FLAGS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Gemm", "FusedGemm", "FusedMatMul", "GemmFloat8"), ("transA", "transB")),
    "FusedMatMul": ("transA", "transB", "transBatchA", "transBatchB"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), ("layout",)),
}
"""Attributes that are 0 or 1, by type of operator."""


def check_attribute_values(operators: Iterator[onnx.NodeProto], name: str) -> None:
    """Refuse attributes out of their range.

    Args:
        operators: of a model.
        name: of its file.

    Raises:
        ModelError: an operator has a number that it cannot have.
    """
    for node in operators:
        least = LEAST.get(node.op_type, {})
        flags = FLAGS.get(node.op_type, ())
        for attribute in node.attribute if least or flags else ():
            numbers = list(attribute.ints) or [attribute.i]
            where = f"{node.op_type} '{node.name}' of '{name}' has {attribute.name}"
            if attribute.ref_attr_name:
                continue
            if attribute.name in flags and attribute.i not in (0, 1):
                raise ModelError(
                    f"{where}={attribute.i}; it is 0 or 1. Correct the export and repeat it"
                )
            if min(numbers) < least.get(attribute.name, min(numbers)):
                raise ModelError(
                    f"{where}={numbers if attribute.ints else attribute.i}; it is at least "
                    f"{least[attribute.name]}. Correct the export and repeat it"
                )
