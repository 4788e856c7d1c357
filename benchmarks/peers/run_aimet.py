"""AIMET: per-channel weights of any width, by nearest, SeqMSE and AdaRound; activations in float.

Widths below 8 apply to every weight. AdaRound takes 10,000 steps a layer at 8 bits and 15,000
below, as its documentation recommends, and 32 calls at a step, unless the setting says
``iterations`` and ``batch``; SeqMSE 20 candidates. Both look at all calibration calls.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

from collections.abc import Callable, Sequence
from pathlib import Path

import aimet_onnx
import numpy as np
import onnx
import torch
from aimet_onnx import QuantizationSimModel
from job import Answer, Feeds, Job, answer, packed, replace, weights
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SCALE_BYTES = 4
RECURRENT = ("LSTM", "GRU", "RNN")
BYTE = 8
BATCH = 32
"""Calls at a time, where the model takes them so."""

CONFIG = "common/quantsim_config/default_config_per_channel.json"


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose recurrent operators have all outputs read, in place; AIMET fails otherwise."""
    for node in model.graph.node:
        if node.op_type in RECURRENT and not node.output[0]:
            node.output[0] = f"{node.name}_unread"
            kind = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
            model.graph.output.append(kind)
    return model


def simulation(job: Job, bits: int, scheme: str) -> QuantizationSimModel:
    """The model with quantizers on its weights alone."""
    config = Path(aimet_onnx.__file__).parent / CONFIG
    sim = QuantizationSimModel(
        named(job.model()), param_type="int8", activation_type="int16", quant_scheme=scheme,
        config_file=str(config), dummy_input=next(job.calls()),
    )  # fmt: skip
    wanted = {weight.name for weight in weights(job.model())}
    for name, quantizer in sim.qc_quantize_op_dict.items():
        quantizer.enabled = name in wanted and name in sim.param_names
        if quantizer.enabled:
            quantizer.set_bitwidth(bits)
    return sim


def tables(sim: QuantizationSimModel, model: onnx.ModelProto) -> dict[str, Floats]:
    """Embeddings at 8 bits per tensor: for AIMET they are activations, and no parameters."""
    found = {}
    for weight in weights(model):
        quantizer = sim.qc_quantize_op_dict.get(weight.name)
        if quantizer is not None and weight.node.op_type == "Gather":
            quantizer.set_bitwidth(BYTE)
            quantizer.enabled = True
            quantizer.reset_encoding_stats()
            quantizer.update_encoding_stats(weight.array)
            quantizer.compute_encodings()
            found[weight.name] = quantizer.quantize_dequantize(weight.array)
    return found


def seq_mse(sim: QuantizationSimModel, calls: Sequence[Feeds], iterations: int) -> None:
    """Ranges by squared error of each layer's output."""
    del iterations
    aimet_onnx.apply_seq_mse(sim, calls)


def adaround(sim: QuantizationSimModel, calls: Sequence[Feeds], iterations: int) -> None:
    """Rounding learnt layer by layer."""
    aimet_onnx.apply_adaround(sim, calls, num_iterations=iterations)


def advised(bits: int) -> int:
    """Steps a layer that the documentation recommends."""
    return 10_000 if bits >= BYTE else 15_000


ALGORITHMS: dict[str, Callable[[QuantizationSimModel, Sequence[Feeds], int], None]] = {
    "seq_mse": seq_mse, "adaround": adaround,
}  # fmt: skip


def compress(job: Job) -> Answer:
    """Quantize every weight to so many bits."""
    bits, steps = int(str(job.setting["bits"])), list(job.setting["steps"])  # type: ignore[call-overload]
    iterations = int(str(job.setting.get("iterations", advised(bits))))
    torch.manual_seed(0)
    np.random.seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    scheme = "tf_enhanced" if "enhanced" in steps else "min_max"
    sim = simulation(job, bits, scheme)
    batch = int(str(job.setting.get("batch", BATCH)))
    calls = list(job.batches(batch)) if set(steps) & set(ALGORITHMS) else []
    sim._compute_param_encodings(overwrite=False)
    for step in steps:
        if step in ALGORITHMS:
            ALGORITHMS[step](sim, calls, iterations)
    found = sim._get_qdq_parameters()
    model = job.model()
    found |= tables(sim, model)
    stored = {
        name: packed(array.size, sim.qc_quantize_op_dict[name].bitwidth)
        + SCALE_BYTES * len(sim.qc_quantize_op_dict[name].get_encodings())
        for name, array in found.items()
    }
    left = [weight.name for weight in weights(model) if weight.name not in found]
    replace(model, found)
    return Answer(model, stored, (f"left in float32: {', '.join(left) or 'none'}",))


if __name__ == "__main__":
    answer(compress)
