"""What a peer is asked to do and how it answers; runs in the peer's own environment.

    python run_PEER.py MODEL.onnx CALIBRATION.npz SETTING OUT

SETTING is JSON. The answer is OUT.onnx, the model with the compressed weights restored to float32,
so that one judge can run what every peer made, and OUT.json: bytes that the peer's own format
takes for each weight, seconds by the clock and of all cores, and peak memory.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Feeds = Mapping[str, NDArray[np.generic]]
WEIGHT_INPUTS = {
    "Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (0, 1), "Gather": (0,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
}  # fmt: skip
MATRIX = 2


@dataclass(frozen=True)
class Answer:
    """What a peer made.

    Attributes:
        model: with compressed weights restored to float32.
        stored: by name of a weight in the model, bytes that it takes as the peer stores it.
        remarks: what the peer left alone or could not do.
    """

    model: onnx.ModelProto
    stored: Mapping[str, int]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What to compress.

    Attributes:
        path: of the flat ONNX model.
        calibration: of the ``.npz`` of calls, ``CALL/INPUT`` -> array.
        setting: the peer's options.
        scratch: a folder for what the peer writes.
    """

    path: Path
    calibration: Path
    setting: Mapping[str, object]
    scratch: Path

    def model(self) -> onnx.ModelProto:
        """The model, read anew."""
        return onnx.load(self.path)

    def calls(self) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Calibration calls in order."""
        with np.load(self.calibration) as arrays:
            inputs = sorted({name.split("/", 1)[1] for name in arrays.files})
            for index in range(len(arrays.files) // len(inputs)):
                yield {name: arrays[f"{index}/{name}"] for name in inputs}

    def batches(self, size: int) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Calibration calls joined to batches, where the model's batch is free; else as they are.

        The last batch may be smaller.
        """
        inputs = onnx.load(self.path, load_external_data=False).graph.input
        free = all(value.type.tensor_type.shape.dim[:1] and
                   value.type.tensor_type.shape.dim[0].dim_param for value in inputs)  # fmt: skip
        held: list[dict[str, NDArray[np.generic]]] = []
        for call in self.calls():
            if held and (not free or len(held) == size or shapes(call) != shapes(held[0])):
                yield joined(held)
                held = []
            held.append(call)
        yield joined(held)


def shapes(call: Feeds) -> dict[str, tuple[int, ...]]:
    """Shape of every input."""
    return {name: array.shape for name, array in call.items()}


def joined(calls: list[dict[str, NDArray[np.generic]]]) -> dict[str, NDArray[np.generic]]:
    """Calls as one batch."""
    if len(calls) == 1:
        return calls[0]
    return {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}


@dataclass(frozen=True)
class Weight:
    """A stored weight and the first operator that reads it.

    Attributes:
        name: of the stored value.
        array: as stored.
        node: that reads it.
        port: input of the node.
    """

    name: str
    array: NDArray[np.float32]
    node: onnx.NodeProto = field(repr=False)
    port: int


def weights(model: onnx.ModelProto) -> list[Weight]:
    """Stored float32 weights of the operators that compress, each once."""
    stored = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    found: dict[str, Weight] = {}
    for node in model.graph.node:
        for port in WEIGHT_INPUTS.get(node.op_type, ()):
            name = node.input[port]
            if name in stored and name not in found and len(stored[name].dims) >= MATRIX:
                found[name] = Weight(name, numpy_helper.to_array(stored[name]), node, port)
    return list(found.values())


def replace(model: onnx.ModelProto, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Give stored values other contents, in place."""
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            array = np.asarray(arrays[tensor.name], np.float32, order="C")
            assert list(array.shape) == list(tensor.dims), (tensor.name, array.shape, tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def peak_bytes() -> int:
    """Most memory that was ever resident; ``ru_maxrss`` would count what the parent had."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")
    )


def packed(count: int, bits: int) -> int:
    """Bytes of so many codes, packed without gaps."""
    return -(-count * bits // 8)


def answer(compress: Callable[[Job], Answer]) -> None:
    """Do the job of the command line."""
    path, calibration, setting, out = sys.argv[1:5]
    target = Path(out)
    scratch = target.parent / f"{target.name}.scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    job = Job(Path(path), Path(calibration), json.loads(setting), scratch)
    start, busy = time.perf_counter(), time.process_time()
    made = compress(job)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    onnx.save(made.model, f"{out}.onnx")
    report = {
        "stored": dict(made.stored),
        "remarks": list(made.remarks),
        "seconds": seconds,
        "cpu_seconds": busy,
        "peak_bytes": peak_bytes(),
    }
    Path(f"{out}.json").write_text(json.dumps(report))
