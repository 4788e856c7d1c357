"""Plans of a large model: seconds and memory of ``packlight plan`` on 10,000 operators and 1.2 GB.

    python benchmarks/plans.py             # ten runs, each in fresh processes
    python benchmarks/plans.py --runs 20 --layers 2500 --width 346

A generated chain of MatMul, Add, Relu and Add, its weights in external data. Memory is the largest
resident set that the system states for any one of the command's processes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper

from scale import IR, KIB, MB, OPSET, outside

LAYERS, WIDTH = 2_500, 346
BUDGET = "size<=500MB"
COMMAND = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "packlight", *sys.argv[1:]],
                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime]))
"""
"""In a process of its own: the system states the largest of all children together."""


def generate(path: Path, layers: int, width: int) -> int:
    """Write the chain and its weights, one at a time; bytes of both files."""
    data, nodes, stored = path.with_name(f"{path.name}.data"), [], []
    rng = np.random.default_rng(0)
    with data.open("wb") as file:
        for layer in range(layers):
            names = f"w{layer}", f"b{layer}"
            weight = rng.standard_normal((width, width), np.float32) / np.float32(width**0.5)
            for name, array in zip(names, (weight, rng.standard_normal(width, np.float32)), strict=True):
                stored.append(outside(name, array, data.name, file.tell()))
                file.write(array)
            nodes += layer_nodes(layer)
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])]
        for name in ("h0", f"h{layers}")
    ]
    graph = helper.make_graph(nodes, "chain", *ends, stored)
    imports = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=IR)
    path.write_bytes(proto.SerializeToString())
    return path.stat().st_size + data.stat().st_size


def layer_nodes(layer: int) -> list[onnx.NodeProto]:
    """A layer: a product with its bias, and what went in added to what comes out."""
    read, product, biased, kept = f"h{layer}", f"p{layer}", f"s{layer}", f"r{layer}"
    return [
        helper.make_node("MatMul", [read, f"w{layer}"], [product], name=f"MatMul_{layer}"),
        helper.make_node("Add", [product, f"b{layer}"], [biased], name=f"Bias_{layer}"),
        helper.make_node("Relu", [biased], [kept], name=f"Relu_{layer}"),
        helper.make_node("Add", [kept, read], [f"h{layer + 1}"], name=f"Add_{layer}"),
    ]


def run(arguments: list[str]) -> tuple[float, float, float]:
    """Run the command once: seconds by the clock, of all processors, and MB of its largest process.

    Raises:
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], check=True, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    code, peak, busy = json.loads(done.stdout)
    if code not in {0, 1}:
        raise SystemExit(f"packlight {' '.join(arguments)} ended with {code}: {done.stderr}")
    return seconds, busy, peak * (1 if sys.platform == "darwin" else KIB) / MB


def main() -> None:
    """Print a row for each run, then the median and the worst."""
    parser = argparse.ArgumentParser(description="time plans of a large model")
    parser.add_argument("--layers", type=int, default=LAYERS, help="of four operators each")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--device", default="x86-laptop-vnni")
    chosen = parser.parse_args()
    with TemporaryDirectory(prefix="packlight-plans-") as name:
        path = Path(name) / "large.onnx"
        size = generate(path, chosen.layers, chosen.width)
        print(f"{4 * chosen.layers:,} operators, {size / MB:,.0f} MB")
        asked = ["plan", str(path), "--budget", BUDGET, "--device", chosen.device]
        run(asked)
        print(
            "| run | s | s of all processors | MB of the largest process |\n| --: |" + " --: |" * 3
        )
        runs = []
        for number in range(chosen.runs):
            runs.append(run(asked))
            print("| {} | {:.2f} | {:.2f} | {:.0f} |".format(number + 1, *runs[-1]), flush=True)
        clock = [seconds for seconds, _, _ in runs]
        print(f"\nmedian {median(clock):.2f} s, {min(clock):.2f} to {max(clock):.2f} s")


if __name__ == "__main__":
    main()
