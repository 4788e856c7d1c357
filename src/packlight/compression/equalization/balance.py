"""Which scales: those that make ranges equal, or those with the least measured rounding error.

Powers of two are the scales by which multiplying rounds nothing: every number of the model stays
what it is, times a power of two, as long as it stays within the range of float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packlight.compression.equalization.channel_edits import Edit
from packlight.compression.equalization.channel_map import ChannelMap
from packlight.compression.equalization.scale_chains import ScaleChain
from packlight.compression.equalization.scale_endpoints import Consumer
from packlight.compression.grids import granularity
from packlight.compression.grids.uniform import fit_grid
from packlight.compression.sites.weight_roles import SUMMED_AXES
from packlight.compression.sites.weight_sites import MAX_MAGNITUDE

Doubles = NDArray[np.float64]
Scales = Literal["powers", "any"]
_MAX_SWEEPS = 20
"""Times that ranges are made equal along chains that share a weight."""

_SETTLED_LOG2 = 0.05
"""Largest change of a base-2 logarithm at which they are equal."""

_MAX_LOG2_SCALE = 10.0
"""Largest base-2 logarithm of a scale."""

_DAMPING = 0.01
"""Share of the mean second moment that is added to that of every channel: calibration samples
hardly tell how much a channel matters that they leave at zero."""

_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Powers of inputs, and of weights, that are tried."""

_SNAP: dict[Scales, Callable[[Doubles], Doubles]] = {"powers": np.rint, "any": np.asarray}
"""What base-2 logarithms of scales become."""


def _scales_from_logs(logs: Doubles, kind: Scales) -> Doubles:
    """Scales from their base-2 logarithms."""
    scales: Doubles = np.exp2(_SNAP[kind](np.clip(logs, -_MAX_LOG2_SCALE, _MAX_LOG2_SCALE)))
    return scales


def equalize_ranges(chains: Sequence[ScaleChain], kind: Scales) -> list[Doubles]:
    """Scales that make ranges before and behind each chain equal, (channels,) for each chain.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
    (ICCV 2019), equation 11, repeated over the chains until nothing changes.
    """
    logs = [np.zeros(chain.free.size) for chain in chains]
    sharing = _scaled_weights(chains)
    for _ in range(_MAX_SWEEPS):
        moved = 0.0
        for place, chain in enumerate(chains):
            change = _log_imbalance(chain, sharing, logs) / 2
            logs[place] += change
            moved = max(moved, float(np.abs(change).max(initial=0.0)))
        if moved < _SETTLED_LOG2:
            break
    return [_scales_from_logs(found, kind) for found in logs]


_Sharing = Mapping[int, Sequence[tuple[int, ChannelMap, float]]]
"""By weight: the chains that scale it, the channels of its numbers, and the sign of the scale."""


def _scaled_weights(chains: Sequence[ScaleChain]) -> _Sharing:
    """Which chains scale which weights."""
    found: dict[int, list[tuple[int, ChannelMap, float]]] = {}
    for place, chain in enumerate(chains):
        signed = [
            *((e, -1.0) for e in _producer_edits(chain)),
            *((e, 1.0) for e in _consumer_edits(chain)),
        ]
        for edit, sign in signed:
            found.setdefault(id(edit.value), []).append((place, edit.labels, sign))
    return found


def _producer_edits(chain: ScaleChain) -> list[Edit]:
    """What multiplies at the start of a chain."""
    return [start.edits[0] for start in chain.producers]


def _consumer_edits(chain: ScaleChain) -> list[Edit]:
    """Weights at the end of a chain."""
    return [end.edit for end in chain.consumers]


def _log_imbalance(chain: ScaleChain, sharing: _Sharing, logs: Sequence[Doubles]) -> Doubles:
    """Base-2 logarithm of the range before each channel over that behind it; 0 where one is 0."""
    count = chain.free.size
    start = _channel_peaks(_producer_edits(chain), count, sharing, logs)
    end = _channel_peaks(_consumer_edits(chain), count, sharing, logs)
    used = chain.free & (start > 0) & (end > 0)
    return np.log2(np.divide(start, end, out=np.ones(count), where=used))


def _channel_peaks(
    edits: Sequence[Edit], channels: int, sharing: _Sharing, logs: Sequence[Doubles]
) -> Doubles:
    """Largest magnitude of the numbers of each channel, all scales so far applied (channels,)."""
    found = np.zeros(channels)
    for edit in edits:
        size = np.abs(edit.read()).astype(np.float64)
        for place, labels, sign in sharing[id(edit.value)]:
            size = size * np.exp2(sign * logs[place])[labels]
        np.maximum.at(found, *np.broadcast_arrays(edit.labels, size))
    return found


def min_error_scales(
    chain: ScaleChain, squares: Sequence[Doubles], bits: int, kind: Scales
) -> Doubles:
    """Scales with the least rounding error on a grid for each output channel (channels,).

    Tried are rms(x)^a / max|W|^b for each channel, where a and b run over ``STRENGTHS``; all 1 is
    among them.
    Source: Lin et al., "AWQ" (MLSys 2024), equations 4 and 5, with the error of each weight
    counted by the mean square of what it multiplies; Xiao et al., "SmoothQuant" (ICML 2023),
    equation 4, for the part of the weights.

    Args:
        chain: at least one of its channels is free.
        squares: for each consumer, mean squares of its input channels (in,).
        bits: width of a code.
        kind: of scales.
    """
    weights = [_WeightedEnd(end, mean) for end, mean in zip(chain.consumers, squares, strict=True)]
    best, least = np.ones(chain.free.size), np.inf
    for scales in _candidate_scales(chain, weights, kind):
        error = sum(weight.error(scales, bits) for weight in weights)
        if error < least:
            best, least = scales, error
    return best


class _WeightedEnd:
    """A weight with the mean squares of what it multiplies.

    Args:
        end: the consumer that reads it.
        squares: mean squares of its input channels (in,).
    """

    def __init__(self, end: Consumer, squares: Doubles) -> None:
        node, index = end.edit.node, end.edit.index
        self.labels = end.edit.labels
        self.weight = end.edit.read()
        self.squares = (squares + _DAMPING * squares.mean())[end.inputs]
        summed = SUMMED_AXES[node.op_type](node, index, self.weight.ndim)
        assert summed is not None
        self.grouping = granularity.per_channel(self.weight.shape, summed)

    def error(self, scales: Doubles, bits: int) -> float:
        """Weighted squared error of rounding the scaled weight to nearest."""
        spread = scales[self.labels]
        product = self.weight * spread
        if np.abs(product).max(initial=0.0) > MAX_MAGNITUDE:
            return np.inf
        scaled = product.astype(np.float32)
        found = fit_grid(scaled, scaled, self.grouping, bits, symmetric=True, search="mse")
        wrong = np.square((found.values(found.nearest(scaled)) - scaled) / spread)
        return float((wrong * self.squares).sum())

    def largest(self, array: NDArray[np.floating], channels: int) -> Doubles:
        """Largest number of each channel (channels,)."""
        found = np.zeros(channels)
        shape = self.weight.shape
        np.maximum.at(found, np.broadcast_to(self.labels, shape), np.broadcast_to(array, shape))
        return found


def _candidate_scales(
    chain: ScaleChain, weights: Sequence[_WeightedEnd], kind: Scales
) -> Iterator[Doubles]:
    """Scales to try, all 1 first, and none twice."""
    count = chain.free.size
    squares = np.maximum.reduce([w.largest(w.squares, count) for w in weights])
    widths = np.maximum.reduce([w.largest(np.abs(w.weight), count) for w in weights])
    used = chain.free & (squares > 0) & (widths > 0)
    inputs, own = (np.log2(x, out=np.zeros(count), where=used) for x in (squares**0.5, widths))
    seen: set[bytes] = set()
    for a, b in itertools.product(_STRENGTHS, _STRENGTHS):
        mixed = a * inputs - b * own
        middle = mixed[used].mean() if used.any() else 0.0
        scales = _scales_from_logs(np.where(used, mixed - middle, 0.0), kind)
        if scales.tobytes() not in seen:
            seen.add(scales.tobytes())
            yield scales


def smooth_activations(
    chain: ScaleChain, peaks: Sequence[Doubles], strength: float, kind: Scales
) -> Doubles:
    """Scales (channels,) that make channels of activations more even, and weights less.

    Source: Xiao et al., "SmoothQuant" (ICML 2023), equation 4, about their geometric mean, so that
    neither side grows as a whole.

    Args:
        chain: between what gives the activations and what multiplies them.
        peaks: for each consumer, largest magnitudes of its input channels (in,).
        strength: share of the unevenness that moves into the weights.
        kind: which scales are allowed.
    """
    count = chain.free.size
    ends = [_WeightedEnd(end, peak) for end, peak in zip(chain.consumers, peaks, strict=True)]
    activations = np.maximum.reduce([end.largest(end.squares, count) for end in ends])
    weights = np.maximum.reduce([end.largest(np.abs(end.weight), count) for end in ends])
    used = chain.free & (activations > 0) & (weights > 0)
    logs = np.zeros(count)
    logs[used] = strength * np.log2(activations[used]) - (1 - strength) * np.log2(weights[used])
    logs[used] -= logs[used].mean() if used.any() else 0.0
    return _scales_from_logs(logs, kind)
