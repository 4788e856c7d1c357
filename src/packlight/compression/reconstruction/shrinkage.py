"""Second moments of inputs as far as samples can be trusted, and what weights make of them.

Source: Chen et al., "Shrinkage Algorithms for MMSE Covariance Estimation" (2010), OAS; Li et al.,
"GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration" (ICML 2025).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.compression.reconstruction.hessian import Moments
from packlight.compression.sites.weight_matrix import Layout

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

WARY = 3.0
"""Mean powers of inputs that are added to each where a weight makes up for what was lost before it:
it is to follow the few directions that most of that lies in, not what samples happened to show."""

FEW = 10
"""Calls of the model from which what was lost is believed by half; from one nearly nothing is."""


def damped(fed: Moments, damping: float, *, centred: bool) -> Doubles:
    """Second moments that are positive definite, trusted less where samples are few.

    Errors of inputs that only happened to go together in the samples must not make up for each
    other, so the moments are drawn towards independent inputs: at least by ``damping``, and by
    what is best for normal samples, one for each call. Where a bias takes up what the means make,
    moments are those about the means.
    Source: Chen et al., "Shrinkage Algorithms for MMSE Covariance Estimation" (2010), OAS.
    """
    moments = fed.second(centred=centred)
    power = powers(moments)
    share = np.maximum(damping, shrinkage(moments, fed.calls))
    moments *= (1 - share)[:, None, None]
    np.einsum("gii->gi", moments)[:] += share[:, None] * power
    return moments


def powers(moments: Doubles) -> Doubles:
    """The mean power of the inputs of each group, (groups, 1); 1 where it underflows float32."""
    power: Doubles = np.einsum("gii->gi", moments).mean(axis=1, keepdims=True)
    power[power < np.finfo(np.float32).tiny] = 1.0
    return power


def shrinkage(moments: Doubles, calls: int) -> Doubles:
    """How far to draw moments (groups, in, in) towards their mean power, (groups,) in [0, 1]."""
    width = moments.shape[-1]
    square = np.einsum("gij,gij->g", moments, moments)
    trace = np.einsum("gii->g", moments) ** 2
    above = (1 - 2 / width) * square + trace
    below = (calls + 1 - 2 / width) * (square - trace / width)
    share = np.divide(above, below, out=np.ones_like(above), where=below > above)
    return np.asarray(np.clip(share, 0, 1), np.float64)


def importance(moments: Doubles, form: Layout) -> Floats:
    """How much each number of a weight matters: the second moment of what it multiplies."""
    diagonal = np.einsum("gii->gi", moments).astype(np.float32)
    return np.asarray(form.weight(np.broadcast_to(diagonal[:, None], form.sizes())), np.float32)


def made_up(weight: Doubles, fed: Moments, *, centred: bool) -> Doubles:
    """The weight whose outputs come nearest to those that it was meant to have.

    Where x were meant and y are fed, that is W E[x y'] E[y y']^-1 = W + W E[(x - y) y'] E[y y']^-1,
    drawn towards W. Both moments are those of the samples: were the second damped, and the first
    not, then W would overshoot where inputs go together.

    Args:
        weight: (groups, out, in).
        fed: what it multiplies, and was meant to.
        centred: whether a bias takes up means.
    """
    missed = fed.missed_with(centred=centred)
    if not missed.size:
        return weight
    lost = np.swapaxes(weight @ missed, 1, 2)
    del missed  # as large as all that is still to come
    trusted = fed.second(centred=centred)
    np.einsum("gii->gi", trusted)[:] += WARY * powers(trusted)
    step = np.swapaxes(np.linalg.solve(trusted, lost), 1, 2)
    return weight + fed.calls / (fed.calls + FEW) * step
