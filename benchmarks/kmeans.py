"""Exact k-means of ten million weights: packlight beside coremltools and scikit-learn.

    python benchmarks/kmeans.py            # 10M weights to 16 and 256 values
    python benchmarks/kmeans.py --optimum  # also the exact optimum by kmeans1d: minutes, kept
    python benchmarks/kmeans.py --optimum --size 1000000 --peers  # 2 GB for 256 values, not 16

All give a table for the same float32 weights; the squared error of each is that of nearest values.
packlight's time includes finding the index of every weight, as coremltools' does, but not loading
its compiled kernels, which is shown apart.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packlight.compression.grids.kmeans import cluster
from sources import cached
from theirs import FEW_THREADS, PEERS, installed

SIZE, SEED = 10_000_000, 0
CLUSTERS = (16, 256)
REPEATS = 3
CHUNK = 1 << 20
TAIL = 5
"""Degrees of freedom of the weights' distribution: heavier tails than normal, as weights have."""

Centres = NDArray[np.float64]
Floats = NDArray[np.float32]


def weights(size: int) -> Path:
    """So many weights as a file, made once."""
    path = cached("kmeans", f"weights-{size}.npy")
    if not path.exists():
        rng = np.random.default_rng(SEED)
        np.save(path, (rng.standard_t(TAIL, size) * 0.05).astype(np.float32))
    return path


def indices(values: Floats, centres: Centres) -> NDArray[np.uint8]:
    """The nearest centre of each value."""
    ordered = np.sort(centres)
    middles = ((ordered[1:] + ordered[:-1]) / 2).astype(np.float32)
    return np.searchsorted(middles, values).astype(np.uint8)


def squared_error(values: Floats, centres: Centres) -> float:
    """Sum of squared distances to the nearest centre, in float64."""
    ordered, total = np.sort(centres), 0.0
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK].astype(np.float64)
        place = np.searchsorted((ordered[1:] + ordered[:-1]) / 2, part)
        total += float(np.square(part - ordered[place]).sum())
    return total


def ours(values: Floats, k: int) -> tuple[float, Centres]:
    """Least seconds of several, and the centres."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        centres = cluster(values, None, k)
        indices(values, centres)
        seconds.append(time.perf_counter() - start)
    return min(seconds), centres


def theirs(method: str, k: int, size: int) -> tuple[float, Centres]:
    """Seconds and centres of a peer; the optimum is kept."""
    out = cached("kmeans", f"{method}-{k}-{size}.npz")
    if not (method == "optimum" and out.exists()):
        runner = PEERS / "time_kmeans.py"
        subprocess.run(
            [installed("coremltools"), "-W", "ignore", runner, method, weights(size), str(k), out],
            check=True, capture_output=True, stdin=subprocess.DEVNULL,
            env={**os.environ, **FEW_THREADS, "PYTHONPATH": ""},
        )  # fmt: skip
    with np.load(out) as found:
        return float(found["seconds"]), found["centres"]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="k-means of ten million weights")
    parser.add_argument("--optimum", action="store_true")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--clusters", nargs="+", type=int, default=list(CLUSTERS))
    parser.add_argument("--peers", nargs="*", default=["coremltools", "scikit-learn"])
    chosen = parser.parse_args()
    values, start = np.load(weights(chosen.size)), time.perf_counter()
    cluster(values[:CHUNK], None, 2)
    print(f"kernels ready in {time.perf_counter() - start:.1f} s\n")
    print("| values | tool | seconds | times packlight's | squared error | above packlight's |")
    print("| --- | --- | --- | --- | --- | --- |")
    for k in chosen.clusters:
        seconds, centres = ours(values, k)
        error = squared_error(values, centres)
        print(f"| {k} | packlight | {seconds:.2f} | 1 | {error:.6g} | 0 % |", flush=True)
        for peer in [*chosen.peers, *(["optimum"] if chosen.optimum else [])]:
            taken, other = theirs(peer, k, chosen.size)
            gap = squared_error(values, other) / error - 1
            print(f"| {k} | {peer} | {taken:.2f} | {taken / seconds:.1f} | {error * (1 + gap):.6g} "
                  f"| {gap:+.3%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
