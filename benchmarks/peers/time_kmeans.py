"""One k-means of a peer, timed; runs in the environment of coremltools.

python time_kmeans.py METHOD WEIGHTS.npy K OUT.npz

Methods: coremltools (its own palettizing function, on float16 weights, for which it is fastest),
scikit-learn (one start), optimum (kmeans1d on the distinct float32 values: exact, and slow).
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def coremltools(k: int) -> Callable[[Floats], NDArray[np.float64]]:
    """Table and indices as ``palettize_weights`` makes them."""
    from coremltools.models.neural_network.quantization_utils import (
        _get_kmeans_lookup_table_and_weight as palettize,
    )

    bits = k.bit_length() - 1
    return lambda weights: np.asarray(palettize(bits, weights.astype(np.float16))[0], np.float64)


def scikit_learn(k: int) -> Callable[[Floats], NDArray[np.float64]]:
    """Lloyd from one k-means++ start."""
    from sklearn.cluster import KMeans

    tool = KMeans(k, n_init=1, random_state=0)
    return lambda weights: tool.fit(weights.reshape(-1, 1)).cluster_centers_.ravel()


def optimum(k: int) -> Callable[[Floats], NDArray[np.float64]]:
    """The exact solution by kmeans1d, as coremltools carries it."""
    from coremltools._deps.kmeans1d import core

    def solve(weights: Floats) -> NDArray[np.float64]:
        values, counts = np.unique(weights, return_counts=True)
        found = core.cluster(values.astype(np.float64), k, weights=counts)
        return np.asarray(found.centroids, np.float64)

    return solve


METHODS = {"coremltools": coremltools, "scikit-learn": scikit_learn, "optimum": optimum}

if __name__ == "__main__":
    method, path, clusters, out = sys.argv[1:5]
    solve, data = METHODS[method](int(clusters)), np.load(path)
    start = time.perf_counter()
    centres = solve(data)
    np.savez(out, centres=centres, seconds=time.perf_counter() - start)
