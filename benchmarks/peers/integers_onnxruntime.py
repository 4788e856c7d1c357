"""ONNX Runtime's ``quantize_static`` and ``quantize_dynamic``: models in 8-bit integers.

Models are prepared by its own ``quant_pre_process``, as its documentation advises.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

from collections.abc import Mapping

import onnx
from job import Answer, Job, answer
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from run_onnxruntime import Calls

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
KINDS = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}


def static(job: Job, source: str, setting: Mapping[str, object]) -> onnx.ModelProto:
    """With ranges from all calls."""
    target = job.scratch / "static.onnx"
    quantize_static(
        source, target, Calls(job), quant_format=QuantFormat.QDQ, per_channel=True,
        reduce_range=bool(setting.get("reduce_range", False)),
        activation_type=QuantType.QUInt8, weight_type=KINDS[str(setting["weights"])],
        calibrate_method=METHODS[str(setting["ranges"])],
    )  # fmt: skip
    return onnx.load(target)


def dynamic(job: Job, source: str, setting: Mapping[str, object]) -> onnx.ModelProto:
    """With ranges found when the model runs."""
    target = job.scratch / "dynamic.onnx"
    quantize_dynamic(source, target, per_channel=True, weight_type=KINDS[str(setting["weights"])])
    return onnx.load(target)


def compress(job: Job) -> Answer:
    """Quantize as the setting says."""
    source = job.scratch / "prepared.onnx"
    quant_pre_process(str(job.path), str(source), skip_symbolic_shape=True)
    make = {"static": static, "dynamic": dynamic}[str(job.setting["kind"])]
    return Answer(make(job, str(source), job.setting), {})


if __name__ == "__main__":
    answer(compress)
