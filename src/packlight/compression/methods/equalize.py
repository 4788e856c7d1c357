"""Move scales of channels from weights to weights, so that rounding them loses less.

Dividing what one operator gives by a positive number for each channel, and multiplying the weight
that reads it by the same number, changes nothing that the model computes; but it changes which
weights are large, and so what a grid that they share keeps of them. With powers of two all results
are the same bit for bit.
Source: Nagel et al. (ICCV 2019) for scales from weights alone; Lin et al., "AWQ" (MLSys 2024) and
Xiao et al., "SmoothQuant" (ICML 2023) for scales from what the weights multiply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.equalization.balance import (
    Doubles,
    equalize_ranges,
    min_error_scales,
    smooth_activations,
)
from packlight.compression.equalization.channel_map import Blocked, Edit, multiply_channels
from packlight.compression.equalization.scale_chains import ScaleChain, ScaleChains
from packlight.compression.equalization.scale_endpoints import Consumer
from packlight.compression.method import Method
from packlight.compression.sites.weight_roles import Role
from packlight.compression.sites.weight_sites import Weight, float32_refusal, weight_sites
from packlight.records.configs import Equalize
from packlight.records.storage import Scaled
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

FLOAT = np.finfo(np.float32)

RECURRENCE = 2
"""Input of a recurrent operator that multiplies its own state."""


@dataclass(frozen=True, slots=True)
class Site:
    """A chain with the weights that gain.

    Attributes:
        chain: where scales can go.
        weights: at its end.
    """

    chain: ScaleChain
    weights: tuple[Weight, ...]

    @property
    def operator(self) -> str:
        """Name of the first operator at its end."""
        return self.weights[0].operator


def sites(graph: ir.Model, config: Equalize) -> Iterator[Site | Refusal]:
    """Every chain that ends at stored weights, and refusals of weights without one."""
    del config
    weights: dict[int, list[Weight]] = {}
    ends: dict[int, ScaleChain] = {}
    chains = ScaleChains(graph)
    for weight in weight_sites(graph):
        if isinstance(weight, Refusal):
            yield weight
            continue
        refusal = float32_refusal(weight)
        if refusal is not None:
            yield refusal
            continue
        chain = _chain_of(weight, chains)
        if isinstance(chain, Refusal):
            yield chain
        else:
            ends[id(chain)] = chain
            weights.setdefault(id(chain), []).append(weight)
    for key, chain in ends.items():
        yield Site(chain, tuple(weights[key]))


def _chain_of(weight: Weight, chains: ScaleChains) -> ScaleChain | Refusal:
    chain = _unsuited(weight.roles) or chains.ending_at(weight.roles[0])
    if isinstance(chain, Blocked):
        return Refusal(weight.operator, chain.code, chain.reason, chain.remedy)
    return chain


def _unsuited(roles: Sequence[Role]) -> Blocked | None:
    """Reason why nothing could be scaled before a weight."""
    kind = roles[0].node.op_type
    if len(roles) > 1:
        names = ", ".join(role.operator for role in roles)
        reason = f"its weight is shared by {names}"
        return Blocked("shared", reason, "store it twice, or leave it as it is")
    if kind == "Gather":
        reason = "its weight is a table that is looked up: it sums over no channels"
        return Blocked("unsupported-operator", reason)
    if kind in ("LSTM", "GRU", "RNN") and roles[0].index == RECURRENCE:
        reason = "its recurrence weight multiplies its own state, which nothing can scale"
        return Blocked("fixed-scale", reason)
    return None


class Squares:
    """Mean squares and largest magnitudes of channels along one axis, streamed.

    Args:
        axis: counted from the end.
    """

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.sums: dict[int, Doubles] = {}
        self.peaks: dict[int, Doubles] = {}
        self.counts: dict[int, int] = {}

    def update(self, value: NDArray[np.generic]) -> None:
        """Take in the value of one call; bodies that share a name may differ in channels."""
        rows = np.moveaxis(np.asarray(value, np.float64), self.axis, 0)
        rows = rows.reshape(rows.shape[0], -1)
        width, count = rows.shape
        none = np.zeros(width)
        self.sums[width] = self.sums.get(width, none) + np.square(rows).sum(axis=1)
        most = np.abs(rows).max(axis=1, initial=0.0)
        self.peaks[width] = np.maximum(self.peaks.get(width, none), most)
        self.counts[width] = self.counts.get(width, 0) + count

    def mean(self, channels: int) -> Doubles:
        """Mean squares (channels,); of no size where no sample reached the value."""
        if not self.counts.get(channels):
            return np.zeros(0)
        return self.sums[channels] / self.counts[channels]

    def peak(self, channels: int) -> Doubles:
        """Largest magnitudes (channels,); of no size where no sample reached the value."""
        if not self.counts.get(channels):
            return np.zeros(0)
        return self.peaks[channels]


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: Equalize
) -> list[Change | Refusal]:
    """Choose scales and multiply them in."""
    results: list[Change | Refusal] = []
    finite: list[Site] = []
    for site in sites:
        defect = _chain_defect(site)
        if defect:
            results += [Refusal(weight.operator, "not-finite", defect) for weight in site.weights]
        else:
            finite.append(site)
    scales: list[Doubles | Blocked]
    if config.by == "weights":
        scales = [*equalize_ranges([site.chain for site in finite], config.scales)]
    else:
        scales = _measured_scales(graph, finite, calibrator, config)
    stock = StoredValues(graph)
    for site, channel_scales in zip(finite, scales, strict=True):
        results += _move_scales(site, channel_scales, stock)
    return results


def _chain_defect(site: Site) -> str:
    """Defect of the numbers of a chain; empty where there is none."""
    for edit in (*site.chain.divided, *(end.edit for end in site.chain.consumers)):
        if not np.isfinite(edit.read()).all():
            return f"{edit.node.name} stores numbers that are NaN or infinite"
    return ""


def _measured_scales(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: Equalize
) -> list[Doubles | Blocked]:
    """Scales with the least rounding error, for each site."""
    ends = [end for site in sites for end in site.chain.consumers]
    squares = {id(end): Squares(end.axis) for end in ends}
    watched: dict[str, list[Squares]] = {}
    for end in ends:
        watched.setdefault(str(end.value.name), []).append(squares[id(end)])
    if watched:
        calibrator.observe(graph, watched)
    chosen: list[Doubles | Blocked] = []
    for site in sites:
        observers = [(squares[id(end)], _channels(end)) for end in site.chain.consumers]
        means = [observer.mean(count) for observer, count in observers]
        if not all(mean.size and np.isfinite(mean).all() for mean in means):
            reason = "no calibration sample gives what it reads a finite value"
            chosen.append(Blocked("no-samples", reason, "add samples that reach it"))
        elif config.by == "activations":
            peaks = [observer.peak(count) for observer, count in observers]
            chosen.append(smooth_activations(site.chain, peaks, config.strength, config.scales))
        else:
            chosen.append(min_error_scales(site.chain, means, config.bits, config.scales))
    return chosen


def _channels(end: Consumer) -> int:
    return int(end.inputs.max()) + 1


def _move_scales(
    site: Site, scales: Doubles | Blocked, stock: StoredValues
) -> list[Change | Refusal]:
    """Multiply scales into the weights of one chain, and say so."""
    if isinstance(scales, Blocked):
        return [
            Refusal(w.operator, scales.code, scales.reason, scales.remedy) for w in site.weights
        ]
    scales = _within_range(site.chain, scales)
    if (scales == 1).all():
        reason = "no other scales of its channels would make its rounding error smaller"
        return [Refusal(weight.operator, "no-gain", reason) for weight in site.weights]
    for edit, factors in _scaled_edits(site.chain, scales):
        multiply_channels(edit, factors, stock)
    count = int((scales != 1).sum())
    producers = sorted({str(producer.node.name) for producer in site.chain.producers})
    storage = Scaled(count, scales.size, tuple(producers))
    return [
        Change(weight.operator, "equalize", storage, weight.tensor.nbytes, weight.tensor.nbytes)
        for weight in site.weights
    ]


def _scaled_edits(chain: ScaleChain, scales: Doubles) -> Iterator[tuple[Edit, Doubles]]:
    yield from ((edit, 1 / scales) for edit in chain.divided)
    yield from ((end.edit, scales) for end in chain.consumers)


def _within_range(chain: ScaleChain, scales: Doubles) -> Doubles:
    """The scales; 1 for channels of which a number would leave the normal ones of float32."""
    safe = scales.copy()
    for edit, factors in _scaled_edits(chain, scales):
        sizes = np.abs(edit.read() * factors[edit.labels])
        out = (sizes > FLOAT.max) | ((sizes > 0) & (sizes < FLOAT.tiny))
        safe[np.broadcast_to(edit.labels, out.shape)[out]] = 1
    return safe


METHOD = Method(
    summary="move scales of channels between weights, so that rounding loses less",
    config=Equalize,
    opset=lambda _: 1,
    sites=sites,
    apply=apply,
    uses_data=lambda config: config.by != "weights",
)
