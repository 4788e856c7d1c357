"""AIMET: 8-bit weights per channel and 8-bit activations, exported with QuantizeLinear."""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

from pathlib import Path

import aimet_onnx
from aimet_onnx import QuantizationSimModel
from job import Answer, Job, answer
from run_aimet import CONFIG, named


def compress(job: Job) -> Answer:
    """Find ranges on all calls, and export."""
    calls = list(job.calls())
    config = Path(aimet_onnx.__file__).parent / CONFIG
    sim = QuantizationSimModel(
        named(job.model()), param_type="int8", activation_type="int8",
        quant_scheme=str(job.setting["scheme"]), config_file=str(config), dummy_input=calls[0],
    )  # fmt: skip
    sim.compute_encodings(calls)
    made = sim.to_onnx_qdq(export_int32_bias=True, prequantize_constants=True)
    wanted = [value.name for value in job.model().graph.output]
    for value in [value for value in made.graph.output if value.name not in wanted]:
        made.graph.output.remove(value)
    return Answer(made, {})


if __name__ == "__main__":
    answer(compress)
