"""NNCF's ``nncf.quantize`` on ONNX: models that compute in 8-bit integers."""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import nncf
from job import Answer, Job, answer


def compress(job: Job) -> Answer:
    """Quantize as the setting says, on all calls."""
    calls = list(job.calls())
    options: dict[str, object] = {}
    if job.setting.get("transformer"):
        options["model_type"] = nncf.ModelType.TRANSFORMER
    made = nncf.quantize(
        job.model(), nncf.Dataset(calls), preset=nncf.QuantizationPreset(job.setting["preset"]),
        subset_size=len(calls), fast_bias_correction=bool(job.setting["fast"]), **options,
    )  # fmt: skip
    return Answer(made, {})


if __name__ == "__main__":
    answer(compress)
