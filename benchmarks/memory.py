"""Peak memory of error feedback: it grows with the widest layer, not with samples or depth.

    python benchmarks/memory.py

Each row is a fresh process that compresses with ``weights:4,rounding=gptq``: EfficientNet-Lite0 on
64 and on 1,024 crops, then generated chains of square products, of which one is deeper and one
wider. The peak is the largest resident set that the system states for the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper

SEED, OPSET, IR = 0, 21, 10
RECIPE = "simplify+weights:4,rounding=gptq,range=moments"
MB = 1e6
KIB = 1024
ROWS = 64
CHAIN = "chain.onnx"


@dataclass(frozen=True, slots=True)
class Run:
    """What one process compresses.

    Attributes:
        model: ``efficientnet`` or ``chain``.
        samples: for calibration.
        layers: of a chain.
        width: of a chain.
    """

    model: str
    samples: int
    layers: int = 0
    width: int = 0


RUNS = (
    Run("efficientnet", 64),
    Run("efficientnet", 1024),
    Run("chain", 64, 8, 512),
    Run("chain", 1024, 8, 512),
    Run("chain", 64, 64, 512),
    Run("chain", 64, 128, 512),
    Run("chain", 64, 8, 2048),
)


def chain(layers: int, width: int) -> onnx.ModelProto:
    """Products with activations between them."""
    random = np.random.default_rng(SEED)
    nodes, stored, value = [], [], "x"
    for index in range(layers):
        weight = random.standard_normal((width, width), np.float32) / np.float32(np.sqrt(width))
        stored.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{index}"], [f"p{index}"]))
        nodes.append(helper.make_node("Relu", [f"p{index}"], [f"r{index}"]))
        value = f"r{index}"
    shape = ["n", width]
    ends = [helper.make_tensor_value_info(name, 1, shape) for name in ("x", value)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def compress(run: Run, folder: Path) -> None:
    """Compress in this process and print its peak and seconds as JSON."""
    import packlight
    from packlight.metrics import METRICS
    from packlight.task import LazySamples, Task

    if run.model == "chain":
        path = folder / CHAIN

        def rows(index: int) -> tuple[dict[str, np.ndarray]]:
            random = np.random.default_rng((SEED, index))
            return ({"x": random.standard_normal((ROWS, run.width), np.float32)},)

        samples = LazySamples(run.samples, rows)
    else:
        import photos

        path = photos.model_path()
        samples = photos.crops(photos.CALIBRATION_PHOTOS, run.samples, photos.CALIBRATION_SEED)
    task = Task(name="memory", samples=samples, metric=METRICS["agreement"], calibration=samples)
    start = time.perf_counter()
    packlight.compress(path, RECIPE, out=folder / "small.onnx", task=task)
    print(json.dumps([peak_bytes(), time.perf_counter() - start]))


def peak_bytes() -> int:
    """Most memory that was ever resident; ``ru_maxrss`` would count what the parent had."""
    status = Path("/proc/self/status").read_text().splitlines()
    return KIB * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def measured(run: Run) -> tuple[float, float]:
    """Peak bytes and seconds of a fresh process; the model is made before, by this one."""
    with TemporaryDirectory() as folder:
        if run.model == "chain":
            onnx.save(chain(run.layers, run.width), Path(folder) / CHAIN,
                      save_as_external_data=True, location=f"{CHAIN}.data")  # fmt: skip
        fields = [folder, run.model, *map(str, (run.samples, run.layers, run.width))]
        command = [sys.executable, "-W", "ignore", __file__, *fields]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, seconds = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds


def main(arguments: Sequence[str]) -> None:
    """Print the table, or compress what the arguments say."""
    if arguments:
        folder, model, *numbers = arguments
        compress(Run(model, *map(int, numbers)), Path(folder))
        return
    print("| model | samples | layers | width | peak MB | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for run in RUNS:
        peak, seconds = measured(run)
        shape = f"{run.layers or ''} | {run.width or ''}"
        row = f"| {run.model} | {run.samples} | {shape} | {peak / MB:.0f} | {seconds:.0f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
