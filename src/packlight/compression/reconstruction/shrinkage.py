"""Shrinkage of Hessians from few samples, and compensation of weights for errors before them.

Source: Chen et al., "Shrinkage Algorithms for MMSE Covariance Estimation" (2010), OAS; Li et al.,
"GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration" (ICML 2025).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.compression.reconstruction.hessian import BlockHessian, HessianObserver, Observers
from packlight.compression.sites.weight_matrix import Layout

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

COMPENSATION_DAMPING = 3.0
"""Mean powers of inputs that are added to each where a weight compensates for errors before it: it
is to follow the few directions that most of those lie in, not what samples happened to show."""

HALF_WEIGHT_CALLS = 10
"""Calls of the model from which compensation gets half its weight; from one it gets nearly none."""


def shrunk_hessian(observer: HessianObserver, damping: float, *, centered: bool) -> Doubles:
    """A positive definite Hessian, shrunk more where samples are few.

    Errors of inputs that only happened to go together in the samples must not make up for each
    other, so the Hessian is drawn towards independent inputs: at least by ``damping``, and by
    what is best for normal samples, one for each call. Where a bias takes up the error of means,
    the Hessian is that about the means.
    Source: Chen et al., "Shrinkage Algorithms for MMSE Covariance Estimation" (2010), OAS.
    """
    hessian = observer.hessian(centered=centered)
    power = _mean_power(hessian)
    share = np.maximum(damping, _oas_shrinkage(hessian, observer.calls))
    hessian *= (1 - share)[:, None, None]
    np.einsum("gii->gi", hessian)[:] += share[:, None] * power
    return hessian


def shrunk_blocks(observers: Observers, damping: float, *, centered: bool) -> BlockHessian:
    """The shrunk Hessian of a weight, of as many blocks as were observed."""
    hessians = [shrunk_hessian(observer, damping, centered=centered) for observer in observers]
    return BlockHessian(tuple(hessians))


def _mean_power(hessian: Doubles) -> Doubles:
    power: Doubles = np.einsum("gii->gi", hessian).mean(axis=1, keepdims=True)
    power[power < np.finfo(np.float32).tiny] = 1.0
    return power


def _oas_shrinkage(hessian: Doubles, calls: int) -> Doubles:
    """Share by which to draw a Hessian (groups, in, in) to its mean power, (groups,) in [0, 1]."""
    width = hessian.shape[-1]
    square = np.einsum("gij,gij->g", hessian, hessian)
    trace = np.einsum("gii->g", hessian) ** 2
    numerator = (1 - 2 / width) * square + trace
    denominator = (calls + 1 - 2 / width) * (square - trace / width)
    partial = denominator > numerator
    share = np.divide(numerator, denominator, out=np.ones_like(numerator), where=partial)
    return np.asarray(np.clip(share, 0, 1), np.float64)


def importance(hessian: BlockHessian, layout: Layout) -> Floats:
    """The Hessian's diagonal for each number of a weight, of the weight's shape."""
    diagonal = hessian.diagonal().astype(np.float32)
    rows = np.broadcast_to(diagonal[:, None], layout.sizes())
    return np.asarray(layout.weight(rows), np.float32)


def compensated_rows(weight: Doubles, observers: Observers, *, centered: bool) -> Doubles:
    """As ``compensated_weight``, block after block of inputs."""
    if len(observers) == 1:
        return compensated_weight(weight, observers[0], centered=centered)
    parts = [
        compensated_weight(weight[:, :, observer.columns], observer, centered=centered)
        for observer in observers
    ]
    return np.concatenate(parts, axis=2)


def compensated_weight(weight: Doubles, observer: HessianObserver, *, centered: bool) -> Doubles:
    """The weight whose outputs come nearest to those of the reference.

    With reference inputs x and inputs y, that is W E[x y'] E[y y']^-1
    = W + W E[(x - y) y'] E[y y']^-1, drawn towards W. Both moments are those of the samples: were
    the second damped, and the first not, then W would overshoot where inputs go together.

    Args:
        weight: (groups, out, in).
        observer: of the inputs of both.
        centered: whether a bias takes up the error of means.
    """
    gap_products = observer.gap_products(centered=centered)
    if not gap_products.size:
        return weight
    error = np.swapaxes(weight @ gap_products, 1, 2)
    del gap_products  # as large as all that is still to come
    hessian = observer.hessian(centered=centered)
    np.einsum("gii->gi", hessian)[:] += COMPENSATION_DAMPING * _mean_power(hessian)
    step = np.swapaxes(np.linalg.solve(hessian, error), 1, 2)
    return weight + observer.calls / (observer.calls + HALF_WEIGHT_CALLS) * step
