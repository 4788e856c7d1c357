"""Memory of a session from start to first run, for files whose weights expand at the start.

    python benchmarks/load_memory.py

Each row is a fresh process: the growth of its resident set over a process that ran a trivial
model, after the start, after a run, and at the peak. The models are ``zoo:fashion`` and a generated
convolutional network of 20 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper

MB = 1e6
KIB = 1024
OPSET, IR = 21, 10
CHANNELS = (32, 64, 128, 256, 512)
BLOCKS = 3
SMALL = "trivial.onnx"

RECIPES = (
    "simplify",
    "simplify+weights:8",
    "simplify+weights:7",
    "simplify+palette:4",
    "simplify+palette:4,scaled=true,scales=16",
    "simplify+palette:7",
    "simplify+sparse:8",
)


def network() -> onnx.ModelProto:
    """Pointwise and depthwise convolutions as in a mobile network, about 20 MB of weights."""
    random = np.random.default_rng(0)
    nodes, stored, value, width = [], [], "x", 3

    def convolve(outputs: int, kernel: int, group: int = 1, stride: int = 1) -> None:
        nonlocal value, width
        shape = (outputs, width // group, kernel, kernel)
        weight = random.standard_normal(shape, np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))
        name = f"w{len(stored)}"
        stored.append(numpy_helper.from_array(weight, name))
        pads = [kernel // 2] * 4
        nodes.append(
            helper.make_node("Conv", [value, name], [f"c{name}"], group=group, pads=pads,
                             strides=[stride, stride]))  # fmt: skip
        nodes.append(helper.make_node("Relu", [f"c{name}"], [f"r{name}"]))
        value, width = f"r{name}", outputs

    for channels in CHANNELS:
        convolve(channels, 3, stride=2)
        for _ in range(BLOCKS):
            convolve(3 * channels, 1)
            convolve(3 * channels, 3, group=3 * channels)
            convolve(channels, 1)
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["y"]))
    ends = [
        helper.make_tensor_value_info("x", 1, [1, 3, 64, 64]),
        helper.make_tensor_value_info("y", 1, [1, width, 1, 1]),
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def trivial() -> onnx.ModelProto:
    """A model that does next to nothing."""
    ends = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "trivial", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def resident(field: str) -> int:
    """Bytes that the system states for this process: ``VmRSS`` now, ``VmHWM`` at the peak."""
    status = Path("/proc/self/status").read_text().splitlines()
    return KIB * next(int(line.split()[1]) for line in status if line.startswith(field))


def measure(folder: Path, model: Path) -> None:
    """Open and run a model in this process; print bytes after start and run and at the peak."""
    import onnxruntime

    def start(path: Path) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(session: onnxruntime.InferenceSession) -> None:
        inputs = {
            value.name: np.zeros([size if isinstance(size, int) else 1 for size in value.shape],
                                 np.float32)
            for value in session.get_inputs()
        }  # fmt: skip
        session.run(None, inputs)

    run(start(folder / SMALL))
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = resident("VmRSS")
    session = start(model)
    started = resident("VmRSS") - before
    run(session)
    print(json.dumps([started, resident("VmRSS") - before, resident("VmHWM") - before]))


def main(arguments: Sequence[str]) -> None:
    """Print the table, or measure the model that the arguments name."""
    if arguments:
        measure(Path(arguments[0]), Path(arguments[1]))
        return
    import packlight

    with TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(trivial(), folder / SMALL)
        onnx.save(network(), folder / "network.onnx")
        print("| model | recipe | file MB | started MB | ran MB | peak MB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for model in ("zoo:fashion", str(folder / "network.onnx")):
            for recipe in RECIPES:
                small = folder / "small.onnx"
                small.unlink(missing_ok=True)
                packlight.compress(model, recipe, out=small)
                command = [sys.executable, "-W", "ignore", __file__, name, str(small)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                numbers = [small.stat().st_size, *json.loads(done.stdout.splitlines()[-1])]
                cells = " | ".join(f"{number / MB:.1f}" for number in numbers)
                print(f"| {Path(model).stem} | {recipe} | {cells} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
