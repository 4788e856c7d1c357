"""Plans of a large model: seconds and memory of ``packlight plan`` on 10,000 operators and 1.2 GB.

    python benchmarks/plans.py             # ten runs, each in fresh processes
    python benchmarks/plans.py --runs 20 --layers 2500 --width 346 --opset 21

A generated chain of MatMul, Add, Relu and Add, its weights and biases in external data. Memory is
looked at in a run of its own, in all processes of the command (on Linux).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper

from scale import KIB, MB, outside, write_chain

LAYERS, WIDTH = 2_500, 346
LOOK = 0.03
"""Seconds between looks at its memory."""

OPSET = 18
"""What PyTorch exports. The integers of 4 bits need 21, so that the model has to be raised."""

BUDGET = "size<=500MB"


def generate(path: Path, layers: int, width: int, opset: int) -> int:
    """Write the chain and its weights, one at a time; bytes of both files."""
    data, nodes, stored = path.with_name(f"{path.name}.data"), [], []
    rng = np.random.default_rng(0)
    with data.open("wb") as file:
        for layer in range(layers):
            names = f"w{layer}", f"b{layer}"
            weight = rng.standard_normal((width, width), np.float32) / np.float32(width**0.5)
            for name, array in zip(
                names, (weight, rng.standard_normal(width, np.float32)), strict=True
            ):
                stored.append(outside(name, array, data.name, file.tell()))
                file.write(array)
            nodes += layer_nodes(layer)
    write_chain(path, nodes, stored, (layers, width), opset)
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


def run(arguments: list[str]) -> float:
    """Run the command once; its seconds.

    Raises:
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    command = started(arguments)
    _, said = command.communicate()
    if command.returncode not in {0, 1}:
        raise SystemExit(f"packlight {' '.join(arguments)} ended with {command.returncode}: {said}")
    return time.perf_counter() - start


def started(arguments: list[str]) -> subprocess.Popen[str]:
    """The command, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "packlight", *arguments], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def memory(arguments: list[str]) -> tuple[float, float]:
    """Run the command and look on: MB of its largest process, and of all of them at one time."""
    command, largest, most = started(arguments), 0, 0
    while command.poll() is None:
        sizes = [*resident(command.pid)]
        largest = max([largest, *(own for own, _ in sizes)])
        most = max(most, sum(shared for _, shared in sizes))
        time.sleep(LOOK)
    return largest / MB, most / MB


def resident(session: int) -> Iterator[tuple[int, int]]:
    """Of each process of a session, bytes that are resident, and its share of them."""
    for entry in filter(lambda entry: entry.name.isdigit(), Path("/proc").iterdir()):
        try:
            if os.getsid(int(entry.name)) == session:
                text = (entry / "smaps_rollup").read_text()
                fields = dict(line.split(":", 1) for line in text.splitlines()[1:])
                yield tuple(int(fields[key].split()[0]) * KIB for key in ("Rss", "Pss"))
        except (OSError, KeyError):
            continue  # it ended meanwhile


def main() -> None:
    """Print a row for each run, then the median and the worst."""
    parser = argparse.ArgumentParser(description="time plans of a large model")
    parser.add_argument("--layers", type=int, default=LAYERS, help="of four operators each")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--opset", type=int, default=OPSET)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--device", default="x86-laptop-vnni")
    chosen = parser.parse_args()
    with TemporaryDirectory(prefix="packlight-plans-") as name:
        path = Path(name) / "large.onnx"
        size = generate(path, chosen.layers, chosen.width, chosen.opset)
        print(f"{4 * chosen.layers:,} operators, {size / MB:,.0f} MB, opset {chosen.opset}")
        asked = ["plan", str(path), "--budget", BUDGET, "--device", chosen.device]
        largest, most = memory(asked)
        print(f"{largest:.0f} MB resident in the largest process, {most:.0f} MB in all at one time")
        seconds = sorted(run(asked) for _ in range(chosen.runs))
        print(f"{chosen.runs} runs: {seconds[0]:.2f} to {seconds[-1]:.2f} s, "
              f"median {median(seconds):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
