"""ONNX Runtime's own tools: ``MatMulNBitsQuantizer``, and the weights of ``quantize_static``.

The first compresses products and embeddings in blocks, to 8, 4 or 2 bits; the second everything
but recurrent layers, per channel, to 8 or 4. Where the second is judged, activations stay floats.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

from itertools import islice

import numpy as np
import onnx
from densify import densify
from job import Answer, Feeds, Job, answer, weights
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization import matmul_nbits_quantizer as blocks

RANGES = 4
"""Calls that find ranges of activations, which are not used."""


class Calls(CalibrationDataReader):
    """Calls one by one."""

    def __init__(self, job: Job, limit: int | None = None) -> None:
        self.calls = list(islice(job.calls(), limit))
        self.place = 0

    def get_next(self) -> Feeds | None:
        """The next call."""
        self.place += 1
        return self.calls[self.place - 1] if self.place <= len(self.calls) else None

    def rewind(self) -> None:
        """Start again."""
        self.place = 0


def in_blocks(job: Job, bits: int, block: int, algorithm: str, symmetric: bool) -> onnx.ModelProto:
    """Products and embeddings by MatMulNBitsQuantizer."""
    operators = ("MatMul", "Gather") if bits == 4 and algorithm == "rtn" else ("MatMul",)
    configs = {
        "rtn": lambda: blocks.DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=symmetric, bits=bits, op_types_to_quantize=operators
        ),
        "hqq": lambda: blocks.HQQWeightOnlyQuantConfig(block_size=block, bits=bits),
        "k_quant": blocks.KQuantWeightOnlyQuantConfig,
        "gptq": lambda: blocks.GPTQWeightOnlyQuantConfig(
            calibration_data_reader=Calls(job), block_size=block, actorder=True, mse=True
        ),
    }
    tool = blocks.MatMulNBitsQuantizer(
        job.model(), bits=bits, block_size=block, is_symmetric=symmetric,
        op_types_to_quantize=operators, algo_config=configs[algorithm](),
    )  # fmt: skip
    tool.process()
    return tool.model.model


def per_channel(job: Job, bits: int) -> onnx.ModelProto:
    """Weights by quantize_static, per channel and symmetric; embeddings at 8 bits."""
    target, kind = job.scratch / "static.onnx", {8: QuantType.QInt8, 4: QuantType.QInt4}[bits]
    tables = [weight.name for weight in weights(job.model()) if weight.node.op_type == "Gather"]
    quantize_static(
        job.path, target, Calls(job, RANGES), quant_format=QuantFormat.QDQ, per_channel=True,
        weight_type=kind, activation_type=QuantType.QInt16,
        op_types_to_quantize=["Conv", "ConvTranspose", "Gemm", "MatMul", "Gather"],
        extra_options={
            "WeightSymmetric": True, "ActivationSymmetric": True,
            "TensorQuantOverrides": {name: [{"quant_type": QuantType.QInt8}] for name in tables},
        },
    )  # fmt: skip
    return onnx.load(target)


def compress(job: Job) -> Answer:
    """Compress as the setting says."""
    setting = dict(job.setting)
    kind = setting.pop("kind")
    make = {"blocks": in_blocks, "channels": per_channel}[str(kind)]
    np.random.seed(0)
    made, stored = densify(make(job, **setting))
    if not stored:
        raise SystemExit("nothing in this model is of a kind that the tool compresses")
    return Answer(made, stored)


if __name__ == "__main__":
    answer(compress)
