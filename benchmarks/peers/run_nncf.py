"""NNCF: ``nncf.compress_weights`` on ONNX, 8 and 4 bits, in all layers that it can.

On ONNX it refuses GPTQ, LoRA correction, codebooks and widths other than 8 and 4; at 4 bits it
compresses products, and keeps convolutions and embeddings at 8.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import nncf
from densify import densify
from job import Answer, Job, answer


def compress(job: Job) -> Answer:
    """Compress as the setting says; with a data set where an option looks at samples."""
    setting = dict(job.setting)
    mode = nncf.CompressWeightsMode(setting.pop("mode"))
    options: dict[str, object] = dict(setting)
    if setting.get("awq") or setting.get("scale_estimation"):
        calls = list(job.calls())
        options |= {"dataset": nncf.Dataset(calls), "subset_size": len(calls)}
    made, stored = densify(nncf.compress_weights(job.model(), mode=mode, **options))
    return Answer(made, stored)


if __name__ == "__main__":
    answer(compress)
