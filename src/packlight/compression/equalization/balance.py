"""Choice of scales: equal ranges, even activations or the least measured rounding error.

Powers of two are the scales by which multiplying rounds nothing: every number of the model stays
what it is, times a power of two, as long as it stays within the range of float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from packlight.compression.equalization.channel_map import ChannelMap, Edit
from packlight.compression.equalization.scale_chains import ScaleChain
from packlight.compression.equalization.scale_endpoints import Consumer
from packlight.compression.grids import grouping
from packlight.compression.grids.uniform import fit_grid
from packlight.compression.sites.weight_roles import SUMMED_AXES, split_groups
from packlight.compression.sites.weight_sites import MAX_MAGNITUDE
from packlight.records.configs import ChannelScales

Doubles = NDArray[np.float64]
_MAX_SWEEPS = 20
"""Most rounds of range equalization along chains that share a weight."""

_SETTLED_LOG2 = 0.05
"""Largest change of a base-2 logarithm at which ranges count as equal."""

_MAX_LOG2_SCALE = 10.0
"""Largest base-2 logarithm of a scale."""

_DAMPING = 0.01
"""Share of the mean second moment that is added to every channel: calibration samples say little
about channels that are zero in all of them."""

_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Tried exponents of inputs and of weights."""

_SNAP: dict[ChannelScales, Callable[[Doubles], Doubles]] = {"powers": np.rint, "any": np.asarray}
"""Rounding of base-2 logarithms of scales."""


def _scales_from_logs(logs: Doubles, kind: ChannelScales) -> Doubles:
    scales: Doubles = np.exp2(_SNAP[kind](np.clip(logs, -_MAX_LOG2_SCALE, _MAX_LOG2_SCALE)))
    return scales


def equalize_ranges(chains: Sequence[ScaleChain], kind: ChannelScales) -> list[Doubles]:
    """Scales that make ranges at start and end of each chain equal, (channels,) for each chain.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
    (ICCV 2019), equation 11, repeated over the chains until nothing changes.
    """
    logs = [np.zeros(chain.free.size) for chain in chains]
    sharing = _scaled_weights(chains)
    for _ in range(_MAX_SWEEPS):
        largest = 0.0
        for index, chain in enumerate(chains):
            change = _log_imbalance(chain, sharing, logs) / 2
            logs[index] += change
            largest = max(largest, float(np.abs(change).max(initial=0.0)))
        if largest < _SETTLED_LOG2:
            break
    return [_scales_from_logs(log, kind) for log in logs]


_Sharing = Mapping[int, Sequence[tuple[int, ChannelMap, float]]]
"""By weight: index of each chain that scales it, channel map, and sign of the log scale."""


def _scaled_weights(chains: Sequence[ScaleChain]) -> _Sharing:
    sharing: dict[int, list[tuple[int, ChannelMap, float]]] = {}
    for index, chain in enumerate(chains):
        for edits, sign in ((_producer_edits(chain), -1.0), (_consumer_edits(chain), 1.0)):
            for edit in edits:
                sharing.setdefault(id(edit.value), []).append((index, edit.labels, sign))
    return sharing


def _producer_edits(chain: ScaleChain) -> list[Edit]:
    return [start.edits[0] for start in chain.producers]


def _consumer_edits(chain: ScaleChain) -> list[Edit]:
    return [end.edit for end in chain.consumers]


def _log_imbalance(chain: ScaleChain, sharing: _Sharing, logs: Sequence[Doubles]) -> Doubles:
    """Base-2 logarithm of the range at the start of each channel over that at its end, or 0."""
    count = chain.free.size
    start = _channel_peaks(_producer_edits(chain), count, sharing, logs)
    end = _channel_peaks(_consumer_edits(chain), count, sharing, logs)
    used = chain.free & (start > 0) & (end > 0)
    return np.log2(np.divide(start, end, out=np.ones(count), where=used))


def _channel_peaks(
    edits: Sequence[Edit], channels: int, sharing: _Sharing, logs: Sequence[Doubles]
) -> Doubles:
    """Largest magnitude in each channel, with all scales so far (channels,)."""
    peaks = np.zeros(channels)
    for edit in edits:
        size = np.abs(edit.read()).astype(np.float64)
        for index, labels, sign in sharing[id(edit.value)]:
            size = size * np.exp2(sign * logs[index])[labels]
        np.maximum.at(peaks, *np.broadcast_arrays(edit.labels, size))
    return peaks


def min_error_scales(
    chain: ScaleChain, squares: Sequence[Doubles], bits: int, kind: ChannelScales
) -> Doubles:
    """Scales with the least rounding error on a grid for each output channel (channels,).

    Candidates are rms(x)^a / max|W|^b for each channel, where a and b run over ``_STRENGTHS``; all
    1 is among them.
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
    best = np.ones(chain.free.size)
    least = np.inf
    for scales in _candidate_scales(chain, weights, kind):
        error = sum(weight.error(scales, bits) for weight in weights)
        if error < least:
            best = scales
            least = error
    return best


class _WeightedEnd:
    """A weight with the mean squares of its inputs.

    Args:
        end: the consumer that reads it.
        squares: mean squares of its input channels (in,).
    """

    def __init__(self, end: Consumer, squares: Doubles) -> None:
        node = end.edit.node
        self.labels = end.edit.labels
        self.weight = end.edit.read()
        self.squares = (squares + _DAMPING * squares.mean())[end.inputs]
        summed = SUMMED_AXES[node.op_type](node, end.edit.index, self.weight.ndim)
        assert summed is not None
        self.grouping = grouping.per_channel(split_groups(node, self.weight.shape), summed)

    def error(self, scales: Doubles, bits: int) -> float:
        """Weighted squared error of rounding the scaled weight to nearest."""
        spread = scales[self.labels]
        product = self.weight * spread
        if np.abs(product).max(initial=0.0) > MAX_MAGNITUDE:
            return np.inf
        scaled = product.astype(np.float32)
        grid = fit_grid(scaled, scaled, self.grouping, bits, symmetric=True, search="mse")
        error = np.square((grid.values(grid.nearest(scaled)) - scaled) / spread)
        return float((error * self.squares).sum())

    def largest(self, array: NDArray[np.floating], channels: int) -> Doubles:
        """Largest element of each channel (channels,)."""
        peaks = np.zeros(channels)
        shape = self.weight.shape
        np.maximum.at(peaks, np.broadcast_to(self.labels, shape), np.broadcast_to(array, shape))
        return peaks


def _candidate_scales(
    chain: ScaleChain, weights: Sequence[_WeightedEnd], kind: ChannelScales
) -> Iterator[Doubles]:
    """Distinct scales to try, all 1 first."""
    count = chain.free.size
    squares = np.maximum.reduce([w.largest(w.squares, count) for w in weights])
    widths = np.maximum.reduce([w.largest(np.abs(w.weight), count) for w in weights])
    used = chain.free & (squares > 0) & (widths > 0)
    inputs = np.log2(squares**0.5, out=np.zeros(count), where=used)
    ranges = np.log2(widths, out=np.zeros(count), where=used)
    tried: set[bytes] = set()
    for a, b in itertools.product(_STRENGTHS, _STRENGTHS):
        scales = _scales_from_logs(_centered(a * inputs - b * ranges, used), kind)
        if scales.tobytes() not in tried:
            tried.add(scales.tobytes())
            yield scales


def _centered(logs: Doubles, used: NDArray[np.bool_]) -> Doubles:
    """Logarithms about their mean over the used channels; 0 for the unused ones."""
    if not used.any():
        return np.zeros(logs.size)
    return np.where(used, logs - logs[used].mean(), 0.0)


def smooth_activations(
    chain: ScaleChain, peaks: Sequence[Doubles], strength: float, kind: ChannelScales
) -> Doubles:
    """Scales (channels,) that make channels of activations more even, and weights less even.

    Source: Xiao et al., "SmoothQuant" (ICML 2023), equation 4, divided by their geometric mean, so
    that neither side grows on average.

    Args:
        chain: from the producers of the activations to the weights that multiply them.
        peaks: for each consumer, largest magnitudes of its input channels (in,).
        strength: share of the unevenness that moves into the weights.
        kind: of scales.
    """
    count = chain.free.size
    ends = [_WeightedEnd(end, peak) for end, peak in zip(chain.consumers, peaks, strict=True)]
    activations = np.maximum.reduce([end.largest(end.squares, count) for end in ends])
    weights = np.maximum.reduce([end.largest(np.abs(end.weight), count) for end in ends])
    used = chain.free & (activations > 0) & (weights > 0)
    logs = np.zeros(count)
    logs[used] = strength * np.log2(activations[used]) - (1 - strength) * np.log2(weights[used])
    return _scales_from_logs(_centered(logs, used), kind)
