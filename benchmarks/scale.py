"""Weights larger than memory: seconds and peak memory of ``packlight compress``.

    python benchmarks/scale.py                  # 36 and 9 layers of 64 MB, two recipes, both ways
    python benchmarks/scale.py --layers 36 --recipes weights:4,block=32 --ways command

A generated chain of square MatMul and Gemm, its weights in external data, is compressed in a fresh
process: by the command line, and from Python with ``packlight.compress`` and ``packlight.save``.
Memory is the largest resident set that the system states for the process, and, apart, for the
largest of its children: the one that opens first what is not trusted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper

SEED = 0
LAYERS, WIDTH = (36, 9), 4096
OPSET, IR = 21, 10
MB = 1e6
KIB = 1024
PAGE = 4096
"""Weights start at multiples of so many bytes, so that they can be mapped."""

RECIPES = ("weights:4,block=32", "palette:4")
COMMAND = """
import runpy, sys
model, recipe, out, report = sys.argv[1:]
sys.argv[1:] = ["compress", model, "--recipe", recipe, "-o", out]
try:
    runpy.run_module("packlight", run_name="__main__")
except SystemExit as ended:
    if ended.code:
        raise
"""
PYTHON = """
import sys
from packlight import compress, save
model, recipe, out, report = sys.argv[1:]
save(compress(model, recipe).model, out)
"""
REPORT = """
import json, pathlib, resource
whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
used = [resource.getrusage(who) for who in whose]
peaks = [one.ru_maxrss for one in used]
busy = sum(one.ru_utime + one.ru_stime for one in used)
pathlib.Path(report).write_text(json.dumps([busy, *peaks]))
"""
HEAD = (
    "layers", "recipe", "way", "model MB", "file MB", "seconds", "processor seconds", "peak MB",
    "child's peak MB",
)  # fmt: skip
WAYS = {"command": COMMAND, "python": PYTHON}


@dataclass(frozen=True, slots=True)
class Run:
    """What one process took.

    Attributes:
        seconds: of wall time.
        busy: seconds of processor time, all cores and children together.
        size: bytes of what was written.
        peak: bytes resident at most.
        child: bytes resident at most in its largest child.
    """

    seconds: float
    busy: float
    size: int
    peak: int
    child: int


def generate(path: Path, layers: int, width: int) -> int:
    """Write a chain of ``layers`` products and its weights, one at a time; bytes of both files."""
    data, nodes, stored = path.with_name(f"{path.name}.data"), [], []
    with data.open("wb") as file:
        for layer in range(layers):
            rng = np.random.default_rng([SEED, layer])
            weight = rng.standard_normal((width, width), np.float32) / np.float32(width**0.5)
            file.seek(-(-file.tell() // PAGE) * PAGE)
            stored.append(outside(f"w{layer}", weight, data.name, file.tell()))
            file.write(weight)
            op = ("MatMul", "Gemm")[layer % 2]
            nodes.append(helper.make_node(op, [f"h{layer}", f"w{layer}"], [f"h{layer + 1}"]))
    write_chain(path, nodes, stored, (layers, width), OPSET)
    return path.stat().st_size + data.stat().st_size


def write_chain(
    path: Path,
    nodes: list[onnx.NodeProto],
    stored: list[onnx.TensorProto],
    size: tuple[int, int],
    opset: int,
) -> None:
    """Write the graph of a chain from ``h0`` to the last ``h``; ``size`` is (layers, width)."""
    layers, width = size
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])]
        for name in ("h0", f"h{layers}")
    ]
    graph = helper.make_graph(nodes, "chain", *ends, stored)
    imports = [helper.make_opsetid("", opset)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=IR)
    path.write_bytes(proto.SerializeToString())


def outside(name: str, weight: np.ndarray, location: str, offset: int) -> onnx.TensorProto:
    """A tensor whose bytes lie at an offset of another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=weight.shape)
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": weight.nbytes}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def measured(model: Path, recipe: str, way: str, folder: Path) -> Run:
    """Compress a model in a fresh process."""
    out, report = folder / "small.onnx", folder / "peaks.json"
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", WAYS[way] + REPORT, model, recipe, out, report],
        check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    written = list(folder.glob(f"{out.name}*"))
    size = sum(path.stat().st_size for path in written)
    for path in written:
        path.unlink()
    unit = 1 if sys.platform == "darwin" else KIB
    busy, *peaks = json.loads(report.read_text())
    return Run(seconds, busy, size, *(peak * unit for peak in peaks))


def rows(chosen: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """One for each depth, recipe and way."""
    for layers in chosen.layers:
        with TemporaryDirectory(prefix="packlight-scale-", dir=chosen.folder) as name:
            model = Path(name) / "large.onnx"
            before = generate(model, layers, chosen.width)
            for recipe in chosen.recipes:
                for way in chosen.ways:
                    run = measured(model, recipe, way, Path(name))
                    numbers = (before, run.size, run.peak, run.child)
                    sizes = [f"{number / MB:.0f}" for number in numbers]
                    times = [f"{run.seconds:.1f}", f"{run.busy:.1f}"]
                    yield str(layers), recipe, way, *sizes[:2], *times, *sizes[2:]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="compress a model larger than memory")
    parser.add_argument("--layers", nargs="+", type=int, default=list(LAYERS))
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--ways", nargs="+", choices=sorted(WAYS), default=list(WAYS))
    parser.add_argument("--folder", type=Path, help="for 3 GB; the system's temporary one if none")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, widest weight {4 * chosen.width**2 / MB:.0f} MB\n")
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for row in rows(chosen):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
