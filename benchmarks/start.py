"""Processor time of small commands, child processes included, and wall clock of ``load``.

    python benchmarks/start.py

Medians of five fresh processes, after one that fills caches.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

RUNS = 5
LOAD = """
import time
start = time.perf_counter()
import packlight
packlight.load("zoo:fashion")
print(time.perf_counter() - start)
"""
COMMANDS: Sequence[Sequence[str]] = (
    ("plan", "zoo:fashion", "--device", "stm32h7"),
    ("plan", "zoo:fashion", "--device", "stm32h7s"),
    ("profile", "zoo:fashion"),
    ("profile", "zoo:fashion", "--device", "pixel-8"),
    ("compress", "zoo:fashion", "--recipe", "float16"),
    ("compress", "zoo:fashion", "--recipe", "weights:8,range=minmax"),
    ("compress", "zoo:fashion", "--recipe", "weights:8"),
)


def cost(command: Sequence[str]) -> tuple[float, float]:
    """Seconds of processor time and of wall clock of a command and its children."""
    before = os.times()
    start = time.perf_counter()
    subprocess.run(command, check=False, capture_output=True)
    wall = time.perf_counter() - start
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system, wall


def load_seconds() -> float:
    """Wall clock of ``packlight.load`` with all that it imports."""
    command = [sys.executable, "-c", LOAD]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the table."""
    print("| command | CPU s | wall s |")
    print("| --- | --- | --- |")
    with TemporaryDirectory() as folder:
        for words in COMMANDS:
            full = [sys.executable, "-m", "packlight", *words]
            if words[0] == "compress":
                full += ["-o", str(Path(folder) / "small.onnx")]
            costs = [cost(full) for _ in range(RUNS + 1)][1:]
            cpu, wall = (statistics.median(values) for values in zip(*costs, strict=True))
            print(f"| `packlight {' '.join(words)}` | {cpu:.2f} | {wall:.2f} |", flush=True)
    loads = [load_seconds() for _ in range(RUNS + 1)][1:]
    print(f'| `packlight.load("zoo:fashion")` in Python | | {statistics.median(loads):.2f} |')


if __name__ == "__main__":
    main()
