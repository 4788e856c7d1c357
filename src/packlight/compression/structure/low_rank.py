"""Products of two small weights in place of one large one, nearest for the inputs that it gets.

With second moments H of the inputs, the outputs W x lie best in the span of the leading
eigenvectors P of W H W', so that W becomes P (P' W). Without samples H is the identity, which
gives the singular value decomposition.
Source: Chen et al., "DRONE" (NeurIPS 2021); Zhang et al., "Accelerating Very Deep Convolutional
Networks" (TPAMI 2016), for convolutions.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.reconstruction.hessian import (
    BlockHessian,
    hessian_bytes,
    observe_hessians,
)
from packlight.compression.reconstruction.shrinkage import shrunk_blocks
from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_sites import WeightSite
from packlight.runtime.calibration import Calibrator
from packlight.runtime.disk_cache import DiskCache, Reader

Doubles = NDArray[np.float64]

DAMPING = 0.01
MAX_HESSIAN_BYTES = 256 * 2**20
"""Bytes of Hessians that are observed in one pass; that of one weight may be more."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """How much of a weight's outputs each direction holds.

    Attributes:
        shares: of the outputs' energy, by direction, largest first; their sum is 1.
        directions: reads the directions (outputs, outputs), a column each.
        mean: of the inputs, (inputs,); zeros without samples.
        observed: whether samples showed the inputs.
    """

    shares: Doubles
    directions: Reader
    mean: Doubles
    observed: bool


def spectra(
    graph: ir.Model, sites: Sequence[WeightSite], calibrator: Calibrator | None
) -> list[Spectrum]:
    """The spectrum of each weight; without samples where there is no calibrator."""
    cache = DiskCache()
    results = []
    for batch in _batches(sites):
        observers = {} if calibrator is None else observe_hessians(graph, batch, calibrator)
        for site in batch:
            layout = weight_layout(site.weight)
            weight = layout.matrices(site.weight.read())[0].astype(np.float64)
            own = observers.pop(id(site), [])
            if not own or not all(observer.count for observer in own):
                results.append(_spectrum(weight, None, np.zeros(weight.shape[1]), cache))
                continue
            mean = np.concatenate([observer.mean()[0] for observer in own])
            blocks = shrunk_blocks(own, DAMPING, centered=True)
            results.append(_spectrum(weight, blocks, mean, cache))
    return results


def _batches(sites: Sequence[WeightSite]) -> Iterator[list[WeightSite]]:
    batch: list[WeightSite] = []
    room = MAX_HESSIAN_BYTES
    for site in sites:
        needed = hessian_bytes(site)
        if batch and needed > room:
            yield batch
            batch = []
            room = MAX_HESSIAN_BYTES
        batch.append(site)
        room -= needed
    if batch:
        yield batch


def _spectrum(
    weight: Doubles, hessian: BlockHessian | None, mean: Doubles, cache: DiskCache
) -> Spectrum:
    if hessian is None:
        gram = weight @ weight.T
    else:
        parts = [(weight[:, columns], block[0]) for columns, block in hessian.parts()]
        gram = np.asarray(sum(part @ block @ part.T for part, block in parts))
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values[::-1], 0)
    total = max(float(values.sum()), 1e-300)
    directions = cache.put(np.ascontiguousarray(vectors[:, ::-1]))
    return Spectrum(values / total, directions, mean, hessian is not None)


def choose_ranks(
    spectra: Sequence[Spectrum], costs: Sequence[float], budget: float, limits: Sequence[int]
) -> list[int]:
    """Ranks with the least sum of lost shares of energy within a budget.

    A direction more costs the same for each rank of one weight and gains less and less, so the best
    one at a time is the best of all.

    Args:
        spectra: of the weights.
        costs: of a direction of each.
        budget: of all directions; one of each weight is spent in any case.
        limits: directions that each may have.
    """
    ranks = [1] * len(spectra)
    spent = sum(costs)
    gains = [
        (-float(spectrum.shares[1]) / cost, index)
        for index, (spectrum, cost) in enumerate(zip(spectra, costs, strict=True))
        if limits[index] > 1 and spectrum.shares.size > 1
    ]
    heapq.heapify(gains)
    while gains:
        _, index = heapq.heappop(gains)
        if spent + costs[index] > budget:
            continue
        spent += costs[index]
        ranks[index] += 1
        rank = ranks[index]
        if rank < min(limits[index], spectra[index].shares.size):
            gain = -float(spectra[index].shares[rank]) / costs[index]
            heapq.heappush(gains, (gain, index))
    return ranks
